//! When client secrets end, as the operator wrote it down: providers do not tell, and a secret that has ended stops
//! every backup at once.

use super::error::{ConfigErrors, line};
use super::layers::Layers;
use super::registrations::registrations;
use crate::clock::UnixTime;
use crate::provider::ClientRegistration;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// From how many days before the end on it is warned of: time enough for holidays and a change window.
const WARN_DAYS: i64 = 30;
const DAY: i64 = 86_400;

/// Reads every `clients.<id>.secret_expires`; warns of those that are near at `now`, or past.
pub(super) fn judge(
    clients: &BTreeMap<String, ClientRegistration>,
    layers: &Layers,
    now: UnixTime,
    faults: &mut ConfigErrors,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for client in registrations(clients) {
        let Some(text) = client.secret_expires else { continue };
        let path = client.key("secret_expires");
        let key = layers.name(&path);
        let place = layers.place(&path);
        match day(text) {
            None => faults.add(&key, &place, "is not a day; write it like \"2027-05-01\""),
            Some(end) => warnings.extend(warning((end - now).div_euclid(DAY)).map(|text| line(&key, &place, &text))),
        }
    }
    warnings
}

/// When they end, by the registrations' names: that of the provider, with `.other.<name>` for those beside the first.
pub(super) fn ends(clients: &BTreeMap<String, ClientRegistration>) -> BTreeMap<String, UnixTime> {
    registrations(clients)
        .filter_map(|client| Some((client.table.get(1..)?.join("."), day(client.secret_expires?)?)))
        .collect()
}

/// The beginning of a day in UTC.
fn day(text: &str) -> Option<UnixTime> {
    // Nothing but a day: with the length given, the parser takes no other spelling of one.
    let start = (text.len() == "2027-05-01".len()).then(|| format!("{text}T00:00:00Z"))?;
    start.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// `left` is in whole days: 0 on the day before the secret ends, below 0 once it has.
fn warning(left: i64) -> Option<String> {
    let advice = "make a new one at the provider, put it in the old one's place and set the new day";
    match left {
        ..0 => Some(format!("is past: if the secret has ended, no login and no backup works; {advice}")),
        0 => Some(format!("is less than a day away; {advice}")),
        1 => Some(format!("is 1 day away; {advice}")),
        2..=WARN_DAYS => Some(format!("is {left} days away; {advice}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_warned_of_from_thirty_days_before_it_until_it_is_mended() {
        let end = day("2027-05-01").unwrap();
        assert_eq!(crate::clock::rfc3339(end), "2027-05-01T00:00:00Z");
        let at = |now: UnixTime| warning((end - now).div_euclid(DAY)).map(|text| text[..12].to_owned());
        assert_eq!(at(end - 31 * DAY), None);
        assert_eq!(at(end - 31 * DAY + 1).as_deref(), Some("is 30 days a"));
        assert_eq!(at(end - DAY).as_deref(), Some("is 1 day awa"));
        assert_eq!(at(end - 1).as_deref(), Some("is less than"));
        assert_eq!(at(end).as_deref(), Some("is less than"));
        assert_eq!(at(end + 1).as_deref(), Some("is past: if "));
        assert_eq!(at(end + 999 * DAY).as_deref(), Some("is past: if "));
    }

    #[test]
    fn only_a_plain_day_is_one() {
        for bad in ["", "2027-5-1", "2027-02-30", "2027-05-01T00:00", "20270501", "01.05.2027", "next May!!"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }
}
