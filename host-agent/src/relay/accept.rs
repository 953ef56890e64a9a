//! Which format a caller gets, and which one a target's answer has: `Accept` and `Content-Type`. Pure.

use super::parse::Format;

/// How names are written that only newer versions take: `escaping` of `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Escaping {
    /// What is not plain becomes `_`.
    #[default]
    Underscores,
    /// `.` becomes `_dot_`, `_` becomes `__`, what else is not plain `__`.
    Dots,
    /// `U__` and the code points of what is not plain.
    Values,
    /// As they are, in quotes.
    AllowUtf8,
}

impl Escaping {
    /// As the header has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
            Self::AllowUtf8 => "allow-utf-8",
        }
    }
}

/// What a caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// Text 0.0.4; 1.0.0 when asked for.
    Text {
        /// Whether the caller asked for version 1.0.0.
        is_one: bool,
    },
    /// OpenMetrics.
    OpenMetrics {
        /// Whether the caller asked for version 0.0.1.
        is_old: bool,
    },
    /// Delimited protobuf.
    Protobuf,
}

/// The outcome of negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accepted {
    /// The format.
    pub encoding: Encoding,
    /// How names are written.
    pub escaping: Escaping,
    /// Whether the caller spoke of escaping.
    pub has_escaping: bool,
}

impl Accepted {
    /// What is taken when nothing is said.
    pub const PLAIN: Self = Self {
        encoding: Encoding::Text { is_one: false },
        escaping: Escaping::Underscores,
        has_escaping: false,
    };

    /// The answer's content type.
    pub fn content_type(&self) -> String {
        let mut text = match self.encoding {
            Encoding::Text { is_one: false } => "text/plain; version=0.0.4; charset=utf-8",
            Encoding::Text { is_one: true } => "text/plain; version=1.0.0; charset=utf-8",
            Encoding::OpenMetrics { is_old: false } => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
            Encoding::OpenMetrics { is_old: true } => {
                "application/openmetrics-text; version=0.0.1; charset=utf-8"
            }
            Encoding::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
        .to_owned();
        if self.has_escaping {
            text.push_str("; escaping=");
            text.push_str(self.escaping.as_str());
        }
        text
    }

    /// As labels have it.
    pub const fn name(&self) -> &'static str {
        match self.encoding {
            Encoding::Text { .. } => "text",
            Encoding::OpenMetrics { .. } => "openmetrics",
            Encoding::Protobuf => "protobuf",
        }
    }
}

/// The best of what a caller takes: by `q`, then in its order. Plain text where nothing fits, as exporters do.
pub fn negotiate(accept: &str) -> Accepted {
    let mut best: Option<(u16, Accepted)> = None;
    for entry in accept.split(',') {
        let Some((quality, accepted)) = entry_of(entry) else { continue };
        if quality > best.map_or(0, |(best, _)| best) {
            best = Some((quality, accepted));
        }
    }
    best.map_or(Accepted::PLAIN, |(_, accepted)| accepted)
}

/// Whether a page for people is preferred.
pub fn wants_html(accept: &str) -> bool {
    accept.split(',').any(|entry| entry.split(';').next().is_some_and(|t| t.trim() == "text/html"))
}

/// Whether gzip is taken.
pub fn takes_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        matches!(parts.next(), Some("gzip" | "*")) && parts.all(|part| quality(part) != Some(0))
    })
}

/// `q=0.5` in thousandths.
fn quality(parameter: &str) -> Option<u16> {
    let value: f32 = parameter.strip_prefix("q=")?.trim().parse().ok()?;
    if !(0.0..=1.0).contains(&value) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    Some((value * 1000.0).round() as u16)
}

fn entry_of(entry: &str) -> Option<(u16, Accepted)> {
    let mut parts = entry.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut q, mut version, mut escaping) = (1000, String::new(), None);
    let (mut proto, mut encoding) = (String::new(), String::new());
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => q = quality(part)?,
            "version" => version = value.to_owned(),
            "proto" => proto = value.to_owned(),
            "encoding" => encoding = value.to_owned(),
            "escaping" => escaping = Some(value.to_owned()),
            _ => {}
        }
    }
    let encoding = match (media.as_str(), version.as_str()) {
        ("application/openmetrics-text", "" | "1.0.0") => Encoding::OpenMetrics { is_old: false },
        ("application/openmetrics-text", "0.0.1") => Encoding::OpenMetrics { is_old: true },
        ("text/plain", "" | "0.0.4") | ("*/*" | "text/*", _) => Encoding::Text { is_one: false },
        ("text/plain", "1.0.0") => Encoding::Text { is_one: true },
        ("application/vnd.google.protobuf", _)
            if proto == "io.prometheus.client.MetricFamily" && encoding == "delimited" =>
        {
            Encoding::Protobuf
        }
        _ => return None,
    };
    let has_escaping = escaping.is_some();
    let escaping = match escaping.as_deref() {
        Some("allow-utf-8") => Escaping::AllowUtf8,
        Some("dots") => Escaping::Dots,
        Some("values") => Escaping::Values,
        _ => Escaping::Underscores,
    };
    Some((q, Accepted { encoding, escaping, has_escaping }))
}

/// The format of a target's answer; `None`: it is none of metrics.
pub fn content_format(content_type: &str) -> Option<Format> {
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    match media.as_str() {
        "text/plain" | "" => Some(Format::Text),
        "application/openmetrics-text" => Some(Format::OpenMetrics),
        "application/vnd.google.protobuf" => {
            let is = |wanted: &str| parts.clone().any(|part| part.replace(' ', "") == wanted);
            let is_known =
                is("proto=io.prometheus.client.MetricFamily") && is("encoding=delimited");
            is_known.then_some(Format::Protobuf)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(accept: &str) -> String {
        negotiate(accept).content_type()
    }

    #[test]
    fn the_greatest_q_wins_and_then_the_caller_s_order() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(
            name(prometheus_2),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8";
        assert_eq!(negotiate(protobuf).encoding, Encoding::Protobuf);
        assert_eq!(
            name("text/plain;q=0.2, application/openmetrics-text;version=0.0.1;q=0.3"),
            "application/openmetrics-text; version=0.0.1; charset=utf-8"
        );
        assert_eq!(
            negotiate("application/openmetrics-text;q=0, text/plain;q=0.1"),
            Accepted::PLAIN
        );
    }

    #[test]
    fn what_is_not_known_gets_plain_text() {
        for accept in [
            "",
            "application/json",
            "text/html,*/*;q=0.8",
            "text/plain;q=x",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
        ] {
            assert_eq!(negotiate(accept), Accepted::PLAIN, "{accept}");
        }
    }

    #[test]
    fn escaping_is_taken_from_the_entry_that_wins() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             text/plain;version=1.0.0;escaping=dots;q=0.5";
        let accepted = negotiate(accept);
        assert_eq!(accepted.escaping, Escaping::AllowUtf8);
        assert!(accepted.content_type().ends_with("; escaping=allow-utf-8"));
        assert!(
            name("text/plain;version=1.0.0;escaping=dots")
                .ends_with("1.0.0; charset=utf-8; escaping=dots")
        );
    }

    #[test]
    fn gzip_and_pages_are_asked_for_by_name() {
        assert!(takes_gzip("deflate, gzip;q=0.5") && takes_gzip("*"));
        assert!(!takes_gzip("gzip;q=0") && !takes_gzip("identity"));
        assert!(wants_html("text/html,application/xhtml+xml") && !wants_html("*/*"));
    }

    #[test]
    fn an_answer_s_type_says_its_format() {
        for (text, format) in [
            ("text/plain; charset=UTF-8", Some(Format::Text)),
            ("application/openmetrics-text; version=1.0.0", Some(Format::OpenMetrics)),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Some(Format::Protobuf),
            ),
            ("application/vnd.google.protobuf; encoding=text", None),
            ("text/html", None),
            ("application/json", None),
        ] {
            assert_eq!(content_format(text), format, "{text}");
        }
    }
}
