//! What a provider remembers: codes, logins, and the refresh and access tokens of each. Which token lives is decided
//! here, by the profile's renewal rule; the wire is elsewhere.

use super::profile::{Profile, Renewal};
use super::refusal::Refusal;
use authseal::clock::{Clock, UnixTime};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Part of every secret that an emulator makes. Where it turns up in a log, something leaked.
pub(crate) const CANARY: &str = "CANARY";

/// What an authorization request asked for and the person agreed to.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorizationRequest {
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    pub(crate) scope: Vec<String>,
    pub(crate) offline: bool,
    /// The API host that the account lives at, where there are several.
    pub(crate) host: Option<String>,
}

/// What a token request gets.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) scope: Vec<String>,
    /// Seconds.
    pub(crate) expires_in: Option<u64>,
}

struct Code {
    asked: AuthorizationRequest,
    issued: UnixTime,
    login: Option<usize>,
}

/// One consent of the person and all that came of it.
struct Login {
    /// Whose refresh tokens they are (RFC 6749 section 6).
    client: String,
    scope: Vec<String>,
    dead: Option<Refusal>,
    refresh: Vec<Refresh>,
    access: Vec<Access>,
}

struct Refresh {
    text: String,
    issued: UnixTime,
    used: UnixTime,
    spent: bool,
    /// The pair that its first use brought: places in `refresh` and `access`.
    brought: Option<(usize, usize)>,
}

struct Access {
    text: String,
    expires_in: Option<u64>,
    /// By a clock that nobody sets.
    issued: Duration,
    /// The refresh token that brought it.
    parent: Option<usize>,
    dead: bool,
}

impl Access {
    fn lives(&self, now: Duration) -> bool {
        !self.dead && self.expires_in.is_none_or(|seconds| now < self.issued + Duration::from_secs(seconds))
    }
}

/// All that one provider remembers.
pub(crate) struct Ledger {
    who: Profile,
    clock: Clock,
    codes: HashMap<String, Code>,
    logins: Vec<Login>,
    login_tokens: HashMap<String, bool>,
    /// Seconds that access tokens live from now on.
    pub(crate) access_life: Option<u64>,
}

impl Ledger {
    pub(crate) fn new(who: Profile, clock: Clock) -> Self {
        let access_life = who.access_life;
        Self { who, clock, codes: HashMap::new(), logins: Vec::new(), login_tokens: HashMap::new(), access_life }
    }

    pub(crate) fn code(&mut self, asked: AuthorizationRequest) -> String {
        let text = secret(self.who.prefixes[0], "code");
        self.codes.insert(text.clone(), Code { asked, issued: self.clock.now(), login: None });
        text
    }

    /// The terms of a code, before it is redeemed.
    pub(crate) fn terms(&self, code: &str) -> Option<&AuthorizationRequest> {
        self.codes.get(code).map(|code| &code.asked)
    }

    /// Gives tokens for a code, once.
    pub(crate) fn redeem(&mut self, text: &str, client: &str) -> Result<Tokens, Refusal> {
        let now = self.clock.now();
        let code = self.codes.get(text).ok_or(Refusal::CodeUnknown)?;
        if let Some(login) = code.login {
            // A code that comes twice was stolen: what it brought dies (RFC 6749 section 4.1.2).
            self.logins[login].dead = Some(Refusal::RefreshRevoked);
            return Err(Refusal::CodeSpent);
        }
        if now - code.issued > self.who.code_life as i64 {
            return Err(Refusal::CodeExpired);
        }
        let asked = code.asked.clone();
        let tokens = self.log_in(asked.scope, asked.offline, client);
        let login = self.logins.len() - 1;
        self.codes.entry(text.to_owned()).and_modify(|code| code.login = Some(login));
        Ok(tokens)
    }

    /// A new login without a code.
    pub(crate) fn log_in(&mut self, scope: Vec<String>, offline: bool, client: &str) -> Tokens {
        let client = client.to_owned();
        let mut login = Login { client, scope, dead: None, refresh: Vec::new(), access: Vec::new() };
        let access = self.new_access(None);
        let mut tokens = Tokens {
            access: access.text.clone(),
            refresh: None,
            scope: login.scope.clone(),
            expires_in: access.expires_in,
        };
        login.access.push(access);
        if offline && self.who.renewal != Renewal::None {
            let refresh = self.new_refresh();
            tokens.refresh = Some(refresh.text.clone());
            login.refresh.push(refresh);
        }
        self.logins.push(login);
        let living = self.logins.iter().filter(|login| login.dead.is_none() && !login.refresh.is_empty()).count();
        if living > self.who.most_grants
            && let Some(oldest) = self.logins.iter_mut().find(|login| login.dead.is_none())
        {
            oldest.dead = Some(Refusal::RefreshRevoked);
        }
        tokens
    }

    /// Gives the refresh token of the last login another text.
    pub(crate) fn rename(&mut self, refresh_token: &str) {
        let newest = self.logins.last_mut().and_then(|login| login.refresh.last_mut());
        newest.unwrap().text = refresh_token.to_owned();
    }

    /// A personal login token, to be pasted.
    pub(crate) fn new_login_token(&mut self) -> String {
        let text = secret("", "login");
        self.login_tokens.insert(text.clone(), false);
        text
    }

    /// Gives tokens for a login token, once.
    pub(crate) fn trade(&mut self, text: &str, scope: Vec<String>, client: &str) -> Result<Tokens, Refusal> {
        match self.login_tokens.get_mut(text) {
            Some(spent) if !*spent => *spent = true,
            _ => return Err(Refusal::LoginToken),
        }
        Ok(self.log_in(scope, true, client))
    }

    /// Who a refresh token was issued to.
    pub(crate) fn client_of(&self, text: &str) -> Option<&str> {
        self.find(text).map(|(at, _)| self.logins[at].client.as_str())
    }

    pub(crate) fn refresh(&mut self, text: &str, client: &str) -> Result<Tokens, Refusal> {
        let now = self.clock.now();
        let (at, index) = self.find(text).ok_or(Refusal::RefreshUnknown)?;
        if self.logins[at].client != client {
            return Err(Refusal::RefreshUnknown);
        }
        if let Some(dead) = &self.logins[at].dead {
            return Err(dead.clone());
        }
        let old = &self.logins[at].refresh[index];
        if old.spent {
            if self.who.renewal == Renewal::StrictSingleUse {
                self.logins[at].dead = Some(Refusal::FamilyDead);
            }
            return Err(Refusal::RefreshSpent);
        }
        // Unused for too long is counted from the last use, except where every token has an end of its own.
        let since = if self.who.renewal == Renewal::Static { old.used } else { old.issued };
        if self.who.refresh_life.is_some_and(|life| now - since > life as i64) {
            return Err(Refusal::RefreshExpired);
        }
        if let (Renewal::SoftSingleUse, Some((refresh, access))) = (self.who.renewal, old.brought) {
            return Ok(self.tokens(at, access, Some(refresh)));
        }
        let access = self.new_access(Some(index));
        let refresh = (self.who.renewal != Renewal::Static).then(|| self.new_refresh());
        let login = &mut self.logins[at];
        login.access.push(access);
        login.refresh[index].used = now;
        let access = login.access.len() - 1;
        let Some(refresh) = refresh else { return Ok(self.tokens(at, access, None)) };
        login.refresh.push(refresh);
        let newest = login.refresh.len() - 1;
        login.refresh[index].brought = Some((newest, access));
        match self.who.renewal {
            Renewal::StrictSingleUse => login.refresh[index].spent = true,
            // Using a token proves that it arrived: the one before it is not needed any more.
            Renewal::SoftSingleUse => spend_parents(&mut login.refresh, index),
            _ => {}
        }
        Ok(self.tokens(at, access, Some(newest)))
    }

    /// A call to the provider's API: whether it lets this access token in.
    pub(crate) fn use_access(&mut self, text: &str) -> bool {
        let soft = self.who.renewal == Renewal::SoftSingleUse;
        let now = self.clock.uptime();
        for login in self.logins.iter_mut().filter(|login| login.dead.is_none()) {
            let Some(index) = login.access.iter().position(|access| access.text == text && access.lives(now)) else {
                continue;
            };
            if soft && let Some(parent) = login.access[index].parent {
                login.refresh[parent].spent = true;
                login.access.iter_mut().enumerate().filter(|(at, _)| *at != index).for_each(|(_, a)| a.dead = true);
            }
            return true;
        }
        false
    }

    pub(crate) fn is_alive(&self, refresh: &str) -> bool {
        self.find(refresh).is_some_and(|(at, index)| {
            let login = &self.logins[at];
            login.dead.is_none() && !login.refresh[index].spent
        })
    }

    /// Ends the login that a refresh or access token belongs to, or all of them.
    pub(crate) fn revoke(&mut self, text: &str, all: bool) -> Result<(), Refusal> {
        let holds = |login: &Login| {
            let refresh = login.refresh.iter().any(|refresh| refresh.text == text);
            login.dead.is_none() && (refresh || login.access.iter().any(|access| access.text == text && !access.dead))
        };
        let at = self.logins.iter().position(holds).ok_or(Refusal::TokenUnknown)?;
        for (index, login) in self.logins.iter_mut().enumerate().filter(|(_, login)| login.dead.is_none()) {
            if all || index == at {
                login.dead = Some(Refusal::RefreshRevoked);
            }
        }
        Ok(())
    }

    fn tokens(&self, at: usize, access: usize, refresh: Option<usize>) -> Tokens {
        let login = &self.logins[at];
        Tokens {
            access: login.access[access].text.clone(),
            refresh: refresh.map(|index| login.refresh[index].text.clone()),
            scope: login.scope.clone(),
            expires_in: login.access[access].expires_in,
        }
    }

    fn find(&self, refresh: &str) -> Option<(usize, usize)> {
        self.logins.iter().enumerate().find_map(|(at, login)| {
            let index = login.refresh.iter().position(|token| token.text == refresh)?;
            Some((at, index))
        })
    }

    fn new_access(&self, parent: Option<usize>) -> Access {
        let text = secret(self.who.prefixes[1], "access");
        Access { text, expires_in: self.access_life, issued: self.clock.uptime(), parent, dead: false }
    }

    fn new_refresh(&self) -> Refresh {
        let now = self.clock.now();
        Refresh { text: secret(self.who.prefixes[2], "refresh"), issued: now, used: now, spent: false, brought: None }
    }
}

/// The tokens whose use brought `index` are spent.
fn spend_parents(tokens: &mut [Refresh], index: usize) {
    for token in tokens.iter_mut() {
        if token.brought.is_some_and(|(refresh, _)| refresh == index) {
            token.spent = true;
        }
    }
}

/// A new secret text, unlike any other of this run.
pub(crate) fn secret(prefix: &str, kind: &str) -> String {
    static MADE: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}{CANARY}-{kind}-{}", MADE.fetch_add(1, Ordering::Relaxed))
}
