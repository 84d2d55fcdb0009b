//! Why no certificate was issued: a sentence each, with what to do, and a word for what is counted. What an authority says
//! goes into the sentence, cut short and without control characters.

use instant_acme::{Error, Problem};
use thiserror::Error as ThisError;

/// Before the words that RFC 8555 section 6.7 has for what went wrong.
const PREFIX: &str = "urn:ietf:params:acme:error:";
/// As much as is shown of what an authority says, in characters.
const MAX_SAID: usize = 400;

/// Why no certificate was issued.
#[derive(Debug, ThisError)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Fault {
    #[error("the authority cannot be reached: {0}; does `acme.directory` name it, and does this machine get there?")]
    Unreachable(String),
    #[error("the authority refuses the account: {0}; is `acme.contact` a mail address that it takes?")]
    Account(String),
    #[error("the authority has issued or refused too much lately: {0}; the staging directory is for trials")]
    RateLimited(String),
    #[error(
        "the authority does not find this server: {0}; each name of `acme.domains` must lead to this server, on port 80 \
         (`tls.redirect_listen`) or, without it, 443"
    )]
    Name(String),
    #[error("the authority refuses the order: {0}")]
    Refused(String),
    #[error("the certificate that was issued is of no use: {0}")]
    Unfit(String),
    #[error("`acme.cache`: {0}; this server's user must be able to write there")]
    Cache(String),
}

impl Fault {
    /// The kind in a word, for what is counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Account(_) => "account",
            Self::RateLimited(_) => "rate_limited",
            Self::Name(_) => "name",
            Self::Refused(_) => "refused",
            Self::Unfit(_) => "unfit",
            Self::Cache(_) => "cache",
        }
    }

    pub(super) fn cache(path: &std::path::Path, error: impl std::fmt::Display) -> Self {
        Self::Cache(format!("{}: {error}", path.display()))
    }

    /// What is wrong with a proof, or with an order by its problem.
    pub(super) fn of_problem(problem: &Problem) -> Self {
        let said = problem.subproblems.iter().filter_map(|part| part.detail.as_deref());
        let said: Vec<_> = problem.detail.as_deref().into_iter().chain(said).collect();
        let kind = kind(problem);
        let said = match said.is_empty() {
            true => kind.to_owned(),
            false => said.join("; "),
        };
        let said = said.chars().filter(|char| !char.is_control()).take(MAX_SAID).collect();
        match kind {
            "rateLimited" => Self::RateLimited(said),
            "accountDoesNotExist"
            | "externalAccountRequired"
            | "invalidContact"
            | "unsupportedContact"
            | "userActionRequired" => Self::Account(said),
            "caa" | "connection" | "dns" | "incorrectResponse" | "tls" | "unauthorized" | "unknownHost" => {
                Self::Name(said)
            }
            "badNonce" | "serverInternal" => Self::Unreachable(said),
            _ => Self::Refused(said),
        }
    }
}

/// The word of RFC 8555 for it.
pub(super) fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix(PREFIX).unwrap_or(kind)
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::of_problem(&problem),
            Error::Timeout(_) => Self::Refused("it did not decide in time".to_owned()),
            Error::Json(_) => Self::Unreachable("what answers there does not speak ACME".to_owned()),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authority_says_is_told_apart_and_shown_without_control_characters() {
        for (kind, label) in [
            ("urn:ietf:params:acme:error:rateLimited", "rate_limited"),
            ("urn:ietf:params:acme:error:invalidContact", "account"),
            ("urn:ietf:params:acme:error:userActionRequired", "account"),
            ("urn:ietf:params:acme:error:dns", "name"),
            ("urn:ietf:params:acme:error:caa", "name"),
            ("urn:ietf:params:acme:error:serverInternal", "unreachable"),
            ("urn:ietf:params:acme:error:rejectedIdentifier", "refused"),
            ("about:blank", "refused"),
        ] {
            let said = format!(r#"{{"type":"{kind}","detail":"no\u001b[31m","subproblems":[]}}"#);
            let fault = Fault::of_problem(&serde_json::from_str(&said).unwrap());
            let sentence = fault.to_string();
            assert_eq!(fault.label(), label, "{kind}");
            assert!(sentence.contains(": no[31m") && !sentence.contains('\u{1b}'), "{sentence}");
        }
    }
}
