//! What the Router answers for a System that is closed for work on it.
//!
//! In: a document's `maintenance`. Out: the rules that stand in the place of the System's, at one path.
//!
//! **Invariants**: the message is text, whatever is in it; no browser takes part of it for HTML.

use std::sync::Arc;
use std::time::Duration;

use contract::name::SystemName;
use contract::system::{Fits, HeaderChanges, HeaderEdits, Maintenance, ValueMatch};

use crate::mesh::{
    Action, Admission, HeaderCondition, Origin, PathMatch, Requests, RouteRule, Treatment,
};

/// Requests of browsers: their `accept` names HTML, in whatever letters.
const HTML: &str = "(?i).*text/html.*";

/// A page for browsers, then the message alone for everyone else.
pub fn rules(system: &SystemName, what: &Arc<Maintenance>, path: &PathMatch) -> Vec<RouteRule> {
    let accepts = ValueMatch::Fits(Fits::Regex(HTML.to_owned()));
    let requests = Requests::at(path.clone());
    let from_browser = requests.clone().with(HeaderCondition::Is("accept".to_owned(), accepts));
    let rule = |requests, body, kind: &str| RouteRule {
        requests,
        admission: Admission::Open,
        action: Action::Page { status: 503, body, content_type: format!("{kind}; charset=utf-8") },
        treatment: Treatment { headers: headers(what), ..Treatment::default() },
        origin: Origin::Document(system.clone(), "maintenance".to_owned()),
    };
    vec![
        rule(from_browser, page(&what.message), "text/html"),
        rule(requests, format!("{}\n", what.message.trim_end()), "text/plain"),
    ]
}

/// Nobody keeps the answer; some come back when it says.
fn headers(what: &Maintenance) -> HeaderChanges {
    let mut set: Vec<(String, String)> = vec![("cache-control".to_owned(), "no-store".to_owned())];
    let seconds = what.retry_after.map(|span| whole_seconds(span.as_duration()));
    set.extend(seconds.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
    let edits = HeaderEdits { set: set.into_iter().collect(), ..HeaderEdits::default() };
    HeaderChanges { response: Some(edits), ..HeaderChanges::default() }
}

/// Rounded up: nobody comes too early.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

fn page(message: &str) -> String {
    let message = escaped(message.trim_end());
    format!(
        "<!doctype html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Closed for maintenance</title>\n\
         <style>body {{ font: 1.2rem sans-serif; max-width: 40rem; margin: 20vh auto; padding: 0 1rem }} \
         p {{ white-space: pre-line }}</style>\n</head>\n<body>\n<p>{message}</p>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_no_markup() {
        let said = page("<script>alert('x')</script> & \"more\"");
        let text = "<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;</p>";
        assert!(said.contains(text), "{said}");
    }

    #[test]
    fn a_part_of_a_second_is_a_whole_one() {
        assert_eq!(whole_seconds(Duration::from_millis(250)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(90)), 90);
    }
}
