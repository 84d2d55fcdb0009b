//! The handlers: one file for each endpoint, named as it is, and beside them what two of them share: the start page
//! (`start_page`, `start_link`), the question for the password (`password_prompt`) and the errors of a login
//! (`login_errors`).

pub(in crate::web) mod acme;
pub(in crate::web) mod assets;
pub(in crate::web) mod cli_token;
pub(in crate::web) mod deliver;
pub(in crate::web) mod fetch;
pub(in crate::web) mod index;
pub(in crate::web) mod inspect;
pub(in crate::web) mod login;
pub(in crate::web) mod login_errors;
pub(in crate::web) mod password;
pub(in crate::web) mod password_prompt;
pub(in crate::web) mod privacy;
pub(in crate::web) mod probes;
pub(in crate::web) mod refresh;
pub(in crate::web) mod revoke;
pub(in crate::web) mod start_link;
pub(in crate::web) mod start_page;
pub(in crate::web) mod token;
