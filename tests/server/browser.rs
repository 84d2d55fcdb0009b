//! A person with a browser, without the browser: cookies, redirects, `Referer` and `Sec-Fetch-*` as Chromium sends them.
//! The person believes to be at the server's public URL; requests for it go to where the server really listens, as
//! behind a proxy that ends TLS.

use crate::http;
use authseal::clock::{Clock, UnixTime};
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::time::Duration;
use url::{Origin, Url, form_urlencoded};

/// One person with one browser.
pub(crate) struct Person {
    http: reqwest::Client,
    clock: Clock,
    /// Where the server's public URL really leads: `http://127.0.0.1:<port>`.
    public: Url,
    real: Url,
    cookies: Vec<Cookie>,
    /// What a proxy on the way adds to each request for the server.
    added: Vec<(String, String)>,
}

/// What made the browser go somewhere.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// The address bar.
    Typed,
    /// A page at this URL, with its referrer policy: a link, a script, a popup.
    Page(Url, Policy),
}

/// A referrer policy (W3C Referrer Policy section 3), as far as it is met here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    NoReferrer,
    SameOrigin,
    StrictOrigin,
    StrictOriginWhenCrossOrigin,
    UnsafeUrl,
}

/// What the browser shows.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    policy: Policy,
}

/// A start tag and the text that follows it.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
}

#[derive(Clone, Debug)]
struct Cookie {
    host: String,
    name: String,
    value: String,
    secure: bool,
    strict: bool,
    expires: Option<UnixTime>,
}

impl Page {
    /// All start tags, in order.
    pub(crate) fn elements(&self) -> Vec<Element> {
        self.body.split('<').skip(1).filter_map(Element::read).collect()
    }

    /// The element with this id.
    pub(crate) fn element(&self, id: &str) -> Option<Element> {
        self.elements().into_iter().find(|element| element.attribute("id") == Some(id))
    }

    /// The first link whose address begins like this.
    pub(crate) fn link(&self, start: &str) -> Option<Url> {
        let elements = self.elements();
        let mut links = elements.iter().filter(|element| element.name == "a").filter_map(|a| a.attribute("href"));
        links.find(|href| href.starts_with(start)).map(|href| self.url.join(href).unwrap())
    }

    /// The value of the first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let elements = self.elements();
        let field = elements.iter().find(|element| element.attribute("name") == Some(name))?;
        field.attribute("value").map(str::to_owned)
    }

    /// The AuthID that is shown.
    pub(crate) fn authid(&self) -> Option<String> {
        self.element("authid").map(|element| element.text).filter(|text| !text.is_empty())
    }

    /// The origin that the page's script hands the AuthID to.
    pub(crate) fn delivers_to(&self) -> Option<String> {
        let ready = self.element("ready")?;
        ready.attribute("data-deliver-to").filter(|origin| !origin.is_empty()).map(str::to_owned)
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Where something on this page would come from.
    pub(crate) fn as_source(&self) -> From {
        From::Page(self.url.clone(), self.policy)
    }
}

impl From {
    /// A page of this origin that opens a popup, with the policy that browsers have by themselves.
    pub(crate) fn opener(origin: &str) -> Self {
        Self::Page(
            Url::parse(origin).unwrap().join("/some/page?with=details").unwrap(),
            Policy::StrictOriginWhenCrossOrigin,
        )
    }
}

impl Element {
    fn read(text: &str) -> Option<Self> {
        let (tag, after) = text.split_once('>')?;
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        if name.is_empty() {
            return None; // an end tag, a comment, a doctype
        }
        let (mut rest, mut attributes) = (tag[name.len()..].trim(), Vec::new());
        while !rest.is_empty() && rest != "/" {
            let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
            let key = rest[..end].to_owned();
            rest = rest[end..].trim_start();
            let mut value = String::new();
            if let Some(after) = rest.strip_prefix("=\"") {
                let (quoted, after) = after.split_once('"')?;
                (value, rest) = (unescape(quoted), after.trim_start());
            }
            attributes.push((key, value));
        }
        Some(Self { name, attributes, text: unescape(after) })
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The character references that templates write.
fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'"), ("&#x2f;", "/")];
    let text = named.iter().fold(text.to_owned(), |text, (reference, character)| text.replace(reference, character));
    text.replace("&amp;", "&")
}

impl Person {
    /// Somebody new, with an empty cookie jar.
    pub(crate) fn new(public: &str, real: &str, clock: &Clock) -> Self {
        let (public, real) = (Url::parse(public).unwrap(), Url::parse(real).unwrap());
        Self { http: http::client(), clock: clock.clone(), public, real, cookies: Vec::new(), added: Vec::new() }
    }

    /// From now on a proxy adds this header to each request for the server, in place of one of that name.
    pub(crate) fn behind(&mut self, name: &str, value: &str) {
        self.added.retain(|(other, _)| other != name);
        self.added.push((name.to_owned(), value.to_owned()));
    }

    /// From now on no proxy adds anything.
    pub(crate) fn behind_none(&mut self) {
        self.added.clear();
    }

    fn by_proxy(&self, url: &Url, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let added = self.added.iter().filter(|_| url.origin() == self.public.origin());
        added.fold(request, |request, (name, value)| request.header(name, value))
    }

    /// An address on the server.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.public.join(path).unwrap()
    }

    /// Goes somewhere and on through all redirects.
    pub(crate) async fn visit(&mut self, url: Url, from: From) -> Page {
        self.travel(Method::GET, url, Vec::new(), from, None).await.unwrap()
    }

    /// [`Person::visit`], but stops before the server's page of this path; its whole address.
    pub(crate) async fn visit_until(&mut self, path: &str, url: Url, from: From) -> Url {
        match self.travel(Method::GET, url, Vec::new(), from, Some(path)).await {
            Err(stopped) => stopped,
            Ok(page) => panic!("never came to {path}: {} {}\n{}", page.status, page.url, page.body),
        }
    }

    /// Clicks a link of a page.
    pub(crate) async fn click(&mut self, page: &Page, link: Url) -> Page {
        self.visit(link, page.as_source()).await
    }

    /// Sends a form of a page.
    pub(crate) async fn submit(&mut self, url: Url, fields: &[(&str, &str)], from: From) -> Page {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.travel(Method::POST, url, fields, from, None).await.unwrap()
    }

    /// The index page for a service, in a popup that this origin opened.
    pub(crate) async fn open_index(&mut self, query: &str, opener: &str) -> Page {
        self.visit(self.at(&format!("/?{query}")), From::opener(opener)).await
    }

    /// Opens the index, clicks the login, says yes, and is on the last page.
    pub(crate) async fn log_in(&mut self, service: &str) -> Page {
        let index = self.open_index(&format!("type={service}"), "http://localhost:8200").await;
        let login = index.link("/login?").unwrap_or_else(|| panic!("no login for {service}: {}", index.body));
        self.click(&index, login).await
    }

    /// The same, up to the callback, which is not visited yet.
    pub(crate) async fn log_in_until_callback(&mut self, service: &str) -> Url {
        let index = self.open_index(&format!("type={service}"), "http://localhost:8200").await;
        let login = index.link("/login?").unwrap_or_else(|| panic!("no login for {service}: {}", index.body));
        self.visit_until("/logged-in", login, index.as_source()).await
    }

    /// Loads a script from the server into a page of this origin, as JSONP does: with `Referer`, without cookies.
    pub(crate) async fn load_script(&self, url: Url, page: &str) -> (u16, String) {
        let request = self.http.get(self.really(&url)).header("host", authority(&url));
        let request = request.header("referer", format!("{page}/")).header("sec-fetch-site", "cross-site");
        let request = request.header("sec-fetch-mode", "no-cors").header("sec-fetch-dest", "script");
        let answer = self.by_proxy(&url, request).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Loses all cookies, as a browser that keeps none.
    pub(crate) fn forget_cookies(&mut self) {
        self.cookies.clear();
    }

    /// The `Cookie` header that the server gets, for tests of its size.
    pub(crate) fn cookie_header(&self) -> String {
        let host = self.public.host_str().unwrap();
        let cookies = self.cookies.iter().filter(|cookie| cookie.host == host);
        cookies.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect::<Vec<_>>().join("; ")
    }

    async fn travel(
        &mut self,
        mut method: Method,
        mut url: Url,
        mut fields: Vec<(String, String)>,
        from: From,
        stop: Option<&str>,
    ) -> Result<Page, Url> {
        let mut policy = match &from {
            From::Typed => Policy::StrictOriginWhenCrossOrigin,
            From::Page(_, policy) => *policy,
        };
        let mut way = Vec::new();
        for _ in 0..20 {
            if stop.is_some_and(|path| url.origin() == self.public.origin() && url.path() == path) {
                return Err(url);
            }
            way.push(url.clone());
            let (status, headers, body) = self.request(&method, &url, &fields, &from, policy, &way).await;
            self.keep_cookies(&url, &headers);
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            let stated = header("referrer-policy").map(read_policy);
            let Some(location) = header("location").filter(|_| (300..400).contains(&status)) else {
                let policy = stated.unwrap_or(Policy::StrictOriginWhenCrossOrigin);
                return Ok(Page { url, status, headers, body, policy });
            };
            // A redirect's own policy holds from there on.
            policy = stated.unwrap_or(policy);
            url = url.join(location).unwrap();
            if matches!(status, 301..=303) {
                (method, fields) = (Method::GET, Vec::new());
            }
        }
        panic!("too many redirects: {way:?}");
    }

    async fn request(
        &self,
        method: &Method,
        url: &Url,
        fields: &[(String, String)],
        from: &From,
        policy: Policy,
        way: &[Url],
    ) -> (u16, HeaderMap, String) {
        let site = fetch_site(from, way);
        let mut request = self
            .http
            .request(method.clone(), self.really(url))
            .header("host", authority(url))
            .header(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
            )
            .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
            .header("accept-language", "en-US,en;q=0.9")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("upgrade-insecure-requests", "1")
            .header("sec-fetch-site", site)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-user", "?1")
            .header("sec-fetch-dest", "document");
        request = self.by_proxy(url, request);
        if let From::Page(source, _) = from {
            if let Some(referer) = referer(source, policy, url) {
                request = request.header("referer", referer);
            }
            if *method == Method::POST {
                let hidden = policy == Policy::NoReferrer || way.len() > 1;
                let origin = if hidden { "null".to_owned() } else { source.origin().ascii_serialization() };
                request = request.header("origin", origin);
            }
        }
        let cookies = self.cookies_for(url, method, matches!(site, "none" | "same-origin" | "same-site"));
        if !cookies.is_empty() {
            request = request.header("cookie", cookies);
        }
        if *method == Method::POST {
            let form: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
    }

    fn cookies_for(&self, url: &Url, method: &Method, same_site: bool) -> String {
        let fits = |cookie: &&Cookie| {
            Some(cookie.host.as_str()) == url.host_str()
                && (!cookie.secure || url.scheme() == "https")
                && (same_site || !cookie.strict && *method == Method::GET)
                && cookie.expires.is_none_or(|expires| expires > self.clock.now())
        };
        let cookies = self.cookies.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value));
        cookies.collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, url: &Url, headers: &HeaderMap) {
        for header in headers.get_all("set-cookie") {
            let mut parts = header.to_str().unwrap().split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let attributes: Vec<_> = parts.map(str::to_ascii_lowercase).collect();
            let has = |wanted: &str| attributes.iter().any(|attribute| attribute == wanted);
            let secure = has("secure");
            let host_only = secure && has("path=/") && !attributes.iter().any(|a| a.starts_with("domain"));
            if (secure || name.starts_with("__Host-")) && url.scheme() != "https"
                || name.starts_with("__Host-") && !host_only
            {
                continue; // as a browser does, without a word
            }
            let age = attributes.iter().find_map(|attribute| attribute.strip_prefix("max-age=")?.parse::<i64>().ok());
            let host = url.host_str().unwrap().to_owned();
            self.cookies.retain(|cookie| cookie.host != host || cookie.name != name);
            if age.is_none_or(|age| age > 0) {
                let expires = age.map(|age| self.clock.now() + age);
                let (name, value, strict) = (name.to_owned(), value.to_owned(), has("samesite=strict"));
                self.cookies.push(Cookie { host, name, value, secure, strict, expires });
            }
        }
    }

    /// Where to send a request for `url` in this test.
    fn really(&self, url: &Url) -> Url {
        if url.origin() != self.public.origin() {
            assert_eq!(url.host_str(), Some("127.0.0.1"), "a test never leaves this machine: {url}");
            return url.clone();
        }
        let mut real = self.real.clone();
        real.set_path(url.path());
        real.set_query(url.query());
        real
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `Sec-Fetch-Site` of a request at the end of `way` (W3C Fetch Metadata section 2.3).
fn fetch_site(from: &From, way: &[Url]) -> &'static str {
    let From::Page(source, _) = from else { return "none" };
    let same_site = |url: &Url| url.scheme() == source.scheme() && url.host() == source.host();
    match () {
        () if way.iter().all(|url| url.origin() == source.origin()) => "same-origin",
        () if way.iter().all(same_site) => "same-site",
        () => "cross-site",
    }
}

fn read_policy(text: &str) -> Policy {
    match text {
        "no-referrer" => Policy::NoReferrer,
        "same-origin" => Policy::SameOrigin,
        "strict-origin" => Policy::StrictOrigin,
        "strict-origin-when-cross-origin" => Policy::StrictOriginWhenCrossOrigin,
        "unsafe-url" => Policy::UnsafeUrl,
        other => panic!("a policy that no page of ours should have: {other}"),
    }
}

/// The `Referer` for a request to `target` (W3C Referrer Policy section 8.3).
fn referer(source: &Url, policy: Policy, target: &Url) -> Option<String> {
    let trustworthy = |url: &Url| url.scheme() == "https" || matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    let downgrade = trustworthy(source) && !trustworthy(target);
    let same = source.origin() == target.origin();
    let (whole, origin) = (strip(source), origin_only(&source.origin()));
    match policy {
        Policy::NoReferrer => None,
        Policy::UnsafeUrl => Some(whole),
        Policy::SameOrigin => same.then_some(whole),
        Policy::StrictOrigin => (!downgrade).then_some(origin),
        Policy::StrictOriginWhenCrossOrigin if same => Some(whole),
        Policy::StrictOriginWhenCrossOrigin => (!downgrade).then_some(origin),
    }
}

fn strip(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}

fn origin_only(origin: &Origin) -> String {
    format!("{}/", origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn page(body: &str) -> Page {
        let headers = HeaderMap::new();
        Page {
            url: url("https://authseal.test/x"),
            status: 200,
            headers,
            body: body.into(),
            policy: Policy::SameOrigin,
        }
    }

    #[test]
    fn elements_are_found_with_attributes_and_text() {
        let page = page(
            "<!DOCTYPE html><!-- <a href=\"/login?no\"> --><div id=\"ready\" data-deliver-to=\"http:&#x2f;&#x2f;localhost:8200\" hidden>\
             <a class=\"b\" href=\"&#x2f;login?id=x&amp;ctx=y\">Go</a><textarea id=\"authid\" readonly>v3:x:1:A&amp;B</textarea></div>",
        );
        assert_eq!(page.authid().as_deref(), Some("v3:x:1:A&B"));
        assert_eq!(page.delivers_to().as_deref(), Some("http://localhost:8200"));
        assert_eq!(page.element("ready").unwrap().attribute("hidden"), Some(""));
        assert_eq!(page.link("/login?id").unwrap().as_str(), "https://authseal.test/login?id=x&ctx=y");
    }

    #[test]
    fn referers_are_as_long_as_the_policy_lets_them_be() {
        let (ui, ours) = (url("http://localhost:8200/a?b"), url("https://authseal.test/"));
        let sent = |policy| referer(&ui, policy, &ours);
        assert_eq!(sent(Policy::StrictOriginWhenCrossOrigin).as_deref(), Some("http://localhost:8200/"));
        assert_eq!(sent(Policy::UnsafeUrl).as_deref(), Some("http://localhost:8200/a?b"));
        assert_eq!((sent(Policy::SameOrigin), sent(Policy::NoReferrer)), (None, None));
        assert_eq!(referer(&ours, Policy::SameOrigin, &ours).as_deref(), Some("https://authseal.test/"));
    }

    #[test]
    fn a_way_through_another_site_stays_cross_site() {
        let (ours, provider) = (url("https://authseal.test/login"), url("http://127.0.0.1:9/authorize"));
        let from = From::Page(url("https://authseal.test/"), Policy::SameOrigin);
        assert_eq!(fetch_site(&from, std::slice::from_ref(&ours)), "same-origin");
        assert_eq!(fetch_site(&from, &[ours.clone(), provider, ours.clone()]), "cross-site");
        assert_eq!(fetch_site(&From::Typed, &[ours]), "none");
    }

    #[test]
    fn cookies_are_kept_and_sent_as_a_browser_does() {
        let clock = Clock::system();
        let mut person = Person::new("https://authseal.test", "http://127.0.0.1:1", &clock);
        let ours = url("https://authseal.test/");
        let mut headers = HeaderMap::new();
        for cookie in [
            "__Host-binder=b; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600",
            "__Host-bad=x; Path=/login; Secure",
            "strict=s; SameSite=Strict",
            "gone=x; Max-Age=0",
        ] {
            headers.append("set-cookie", cookie.parse().unwrap());
        }
        person.keep_cookies(&ours, &headers);
        assert_eq!(person.cookie_header(), "__Host-binder=b; strict=s");
        assert_eq!(person.cookies_for(&ours, &Method::GET, true), "__Host-binder=b; strict=s");
        assert_eq!(person.cookies_for(&ours, &Method::GET, false), "__Host-binder=b");
        assert_eq!(person.cookies_for(&ours, &Method::POST, false), "");
        assert_eq!(person.cookies_for(&url("http://authseal.test/"), &Method::GET, true), "strict=s");
        clock.advance(Duration::from_secs(3601));
        assert_eq!(person.cookies_for(&ours, &Method::GET, true), "strict=s");
    }
}
