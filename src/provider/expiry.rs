//! When a refresh token expires by age, if the provider has a fixed lifetime. One that is sent again and again expires
//! some day, whatever its use; one that is replaced in time never does. The one judgement of that, for the page, the
//! command line and the metrics.

use super::{RefreshTokenPolicy, Service};
use crate::clock::UnixTime;

const DAY: i64 = 86_400;

impl Service {
    /// When a login ends, however often it is used; `None` if age does not end it, as far as that is known. `issued` is
    /// when the refresh token in its AuthID came, `stated` when it ends, as the provider said.
    pub fn expires_at(&self, issued: UnixTime, stated: Option<UnixTime>) -> Option<UnixTime> {
        let stays = match self.provider.rotation() {
            RefreshTokenPolicy::Static => true,
            // The old one is handed in again and again, unless the new one can be remembered.
            RefreshTokenPolicy::Rolling => !self.renewed,
            // Offered only where the new one is remembered.
            RefreshTokenPolicy::SingleUse => false,
        };
        let by_days = || self.refresh_token_days.map(|days| issued.saturating_add(i64::from(days) * DAY));
        stated.or_else(by_days).filter(|_| stays)
    }

    /// Whether refresh tokens change here, and the new ones are not remembered for longer than the process lives.
    pub fn forgets_new_tokens(&self) -> bool {
        self.provider.rotation() == RefreshTokenPolicy::Rolling && !self.renewed && !self.provider.raw_token()
    }

    /// Whole days that a login has left at `now`, by the same judgement; below 0 if it ought to be dead already.
    pub fn days_left(&self, issued: UnixTime, stated: Option<UnixTime>, now: UnixTime) -> Option<i64> {
        self.expires_at(issued, stated).map(|end| (end - now).div_euclid(DAY))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{built_in, clients};
    use super::super::{Catalogue, ClientRegistration, ProviderSettings, RefreshTokenPolicy};
    use super::*;

    const ISSUED: UnixTime = 1_795_428_000;

    /// Days that a login has left which was just made.
    fn days(rotation: RefreshTokenPolicy, settings: Option<u32>, client: Option<u32>, durable: bool) -> Option<i64> {
        let (mut providers, services) = built_in();
        let provider: &mut ProviderSettings = providers.get_mut("dropbox").unwrap();
        (provider.rotation, provider.refresh_token_days) = (Some(rotation), settings);
        let mut clients = clients(["dropbox"]);
        let own = ClientRegistration { refresh_token_days: client, ..clients["dropbox"].clone() };
        clients.insert("dropbox".to_owned(), own);
        let catalogue = Catalogue::build(providers, services, clients, durable).unwrap();
        catalogue.find("dropbox").unwrap().days_left(ISSUED, None, ISSUED)
    }

    #[test]
    fn a_token_that_stays_ends_at_its_age_and_one_that_is_renewed_does_not() {
        use RefreshTokenPolicy::{Rolling, SingleUse, Static};
        for (rotation, durable, expected) in [
            (Static, false, Some(90)),
            (Static, true, Some(90)),
            (Rolling, false, Some(90)),
            (Rolling, true, None),
            (SingleUse, true, None),
        ] {
            assert_eq!(days(rotation, Some(90), None, durable), expected, "{rotation:?} {durable}");
            assert_eq!(days(rotation, None, None, durable), None, "{rotation:?} {durable}");
        }
    }

    #[test]
    fn what_the_operator_knows_of_a_client_goes_before_the_provider() {
        assert_eq!(days(RefreshTokenPolicy::Static, None, Some(7), true), Some(7));
        assert_eq!(days(RefreshTokenPolicy::Rolling, Some(90), Some(7), false), Some(7));
        assert_eq!(days(RefreshTokenPolicy::Rolling, Some(90), Some(7), true), None);
    }

    #[test]
    fn what_the_provider_says_of_a_token_goes_before_the_rule() {
        let (providers, services) = built_in();
        let catalogue = Catalogue::build(providers, services, clients(["microsoft"]), false).unwrap();
        let service = catalogue.find("onedrivev2").unwrap();
        assert_eq!(service.expires_at(ISSUED, Some(ISSUED + 60)), Some(ISSUED + 60));
        assert_eq!(service.expires_at(ISSUED, None), Some(ISSUED + 90 * DAY));
        assert_eq!(service.days_left(ISSUED, None, ISSUED + 1), Some(89));
        assert_eq!(service.days_left(ISSUED, None, ISSUED + 90 * DAY + 1), Some(-1));
    }
}
