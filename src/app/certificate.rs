//! Opens the certificate of a server that speaks TLS itself, and what orders it where it is issued by ACME.

use crate::acme::{Acme, Certificate};
use crate::clock::Clock;
use crate::config::Config;
use crate::meter::Meter;
use crate::tls::LiveCertificate;
use std::sync::Arc;
use url::Url;

/// Both, where there are any; for a look (`examine`) nothing is made, and a certificate that is still to come is none.
pub(super) fn open(
    config: &Config,
    public_url: &Url,
    examine: bool,
    clock: &Clock,
    meter: &Meter,
) -> Result<Certificate, String> {
    let settings = config.acme.clone().filter(|_| !examine);
    let acme = settings.map(|it| Acme::open(it, config.outbound.clone(), clock.clone(), meter.clone()));
    let acme = acme.transpose().map_err(|fault| fault.to_string())?.map(Arc::new);
    let files = config.tls.clone().filter(|files| !(examine && files.acme && !files.cert.exists()));
    let host = public_url.host().map(|host| host.to_owned());
    let live = files.zip(host).map(|(files, host)| LiveCertificate::open(files, host, clock.clone()));
    let live = live.transpose().map_err(|faults| faults.to_string())?.map(Arc::new);
    Ok(Certificate { live, acme })
}
