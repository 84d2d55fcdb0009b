//! What a provider is called in a sentence of `X-Reason`.

use crate::authid::ServiceId;
use crate::provider::Catalogue;

/// The longest name of a provider that is put into a sentence, in bytes.
const MAX_NAME: usize = 60;

/// What a provider is called in a sentence: its name, or its key where the name cannot be printed everywhere; begins with
/// a letter.
pub(in crate::web) fn provider_name(service: &ServiceId, catalogue: &Catalogue) -> String {
    let Some(service) = catalogue.find(service.as_str()) else { return named(service.as_str()) };
    let name = service.provider.name().trim();
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| (b' '..=b'~').contains(&b));
    named(if fits { name } else { service.provider.id() })
}

fn named(name: &str) -> String {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins_well { name.to_owned() } else { format!("Provider {name}") }
}
