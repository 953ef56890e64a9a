//! Functions of texts.
//!
//! In: values. Out: values, or why there is none. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hcl::Value;
use hcl::eval::FuncArgs;

use super::{Just, Least, Row, list, number, text, texts, value, whole};
use crate::scope::plain;

/// No text of a job is filled up further: a number that was mistyped is not to cost memory.
const WIDEST: usize = 1000;

pub(super) const ALL: &[Row] = &[
    ("base64decode", Just(1), |args| decoded(&args)),
    ("base64encode", Just(1), |args| Ok(STANDARD.encode(text(&args, 0)?).into())),
    ("chomp", Just(1), |args| changed(&args, |own| own.trim_end_matches(['\r', '\n']).to_owned())),
    ("format", Least(1), |args| formatted(&args)),
    ("indent", Just(2), |args| indented(&args)),
    ("join", Just(2), |args| Ok(texts(list(&args, 1)?)?.join(&text(&args, 0)?).into())),
    ("jsondecode", Just(1), |args| json_decoded(&args)),
    ("jsonencode", Just(1), |args| json_encoded(&args)),
    ("lower", Just(1), |args| changed(&args, str::to_lowercase)),
    ("replace", Just(3), |args| replaced(&args)),
    ("split", Just(2), |args| split(&args)),
    ("strrev", Just(1), |args| changed(&args, |own| own.chars().rev().collect())),
    ("substr", Just(3), |args| part(&args)),
    ("title", Just(1), |args| changed(&args, titled)),
    ("tostring", Just(1), |args| to_string(&args)),
    ("trim", Just(2), |args| trimmed(&args)),
    ("trimprefix", Just(2), |args| without(&args, |own, cut| own.strip_prefix(cut))),
    ("trimspace", Just(1), |args| changed(&args, |own| own.trim().to_owned())),
    ("trimsuffix", Just(2), |args| without(&args, |own, cut| own.strip_suffix(cut))),
    ("upper", Just(1), |args| changed(&args, str::to_uppercase)),
];

fn changed(args: &FuncArgs, change: fn(&str) -> String) -> Result<Value, String> {
    Ok(change(&text(args, 0)?).into())
}

fn without(
    args: &FuncArgs,
    cut: for<'a> fn(&'a str, &str) -> Option<&'a str>,
) -> Result<Value, String> {
    let (own, what) = (text(args, 0)?, text(args, 1)?);
    Ok(cut(&own, &what).unwrap_or(&own).into())
}

fn trimmed(args: &FuncArgs) -> Result<Value, String> {
    let cut: Vec<char> = text(args, 1)?.chars().collect();
    Ok(text(args, 0)?.trim_matches(cut.as_slice()).into())
}

fn titled(own: &str) -> String {
    let mut before = ' ';
    let upper = |c: char| {
        let is_first = !before.is_alphanumeric();
        before = c;
        if is_first { c.to_uppercase().collect() } else { c.to_string() }
    };
    own.chars().map(upper).collect()
}

fn to_string(args: &FuncArgs) -> Result<Value, String> {
    if value(args, 0).is_null() { Ok(Value::Null) } else { text(args, 0).map(Into::into) }
}

/// A text between slashes is a regular expression.
fn replaced(args: &FuncArgs) -> Result<Value, String> {
    let (own, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let pattern = from.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let Some(pattern) = pattern else { return Ok(own.replace(&from, &to).into()) };
    let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
    Ok(pattern.replace_all(&own, to.as_str()).into_owned().into())
}

fn split(args: &FuncArgs) -> Result<Value, String> {
    let (by, own) = (text(args, 0)?, text(args, 1)?);
    Ok(Value::Array(own.split(&by).map(Value::from).collect()))
}

/// From a place that may count from the end, so many characters; -1: all of the rest.
fn part(args: &FuncArgs) -> Result<Value, String> {
    let own: Vec<char> = text(args, 0)?.chars().collect();
    let (offset, length) = (whole(args, 1)?, whole(args, 2)?);
    let count = i64::try_from(own.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (count + offset).max(0) } else { offset };
    let start = usize::try_from(start).unwrap_or(0);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(own.into_iter().skip(start).take(length).collect::<String>().into())
}

fn indented(args: &FuncArgs) -> Result<Value, String> {
    let spaces = " ".repeat(places(usize::try_from(whole(args, 0)?).ok())?);
    Ok(text(args, 1)?.replace('\n', &format!("\n{spaces}")).into())
}

/// A width, where it makes sense; `None`: it is no number of places.
fn places(width: Option<usize>) -> Result<usize, String> {
    let fits = width.filter(|width| *width <= WIDEST);
    fits.ok_or_else(|| format!("it is negative, or wider than {WIDEST} places"))
}

fn decoded(args: &FuncArgs) -> Result<Value, String> {
    let bytes = STANDARD.decode(text(args, 0)?).map_err(|error| error.to_string())?;
    let own = String::from_utf8(bytes).map_err(|_| "the decoded bytes are no UTF-8".to_owned())?;
    Ok(own.into())
}

/// Keys in order, as objects have them for Nomad.
fn json_encoded(args: &FuncArgs) -> Result<Value, String> {
    let sorted = serde_json::to_value(value(args, 0)).map_err(|error| error.to_string())?;
    Ok(sorted.to_string().into())
}

fn json_decoded(args: &FuncArgs) -> Result<Value, String> {
    serde_json::from_str(&text(args, 0)?).map_err(|error| error.to_string())
}

/// `%s`, `%d`, `%v`, `%q`, `%f`, `%t`, `%x`, `%%` with width, `-`, `0` and precision.
fn formatted(args: &FuncArgs) -> Result<Value, String> {
    let pattern = text(args, 0)?;
    let (mut out, mut next, mut rest) = (String::new(), 1, pattern.as_str());
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let end = after.find(|c: char| !(c.is_ascii_digit() || c == '-' || c == '.'));
        let end = end.ok_or_else(|| "a verb is missing after %".to_owned())?;
        let (flags, verb_on) = after.split_at_checked(end).unwrap_or((after, ""));
        let verb = verb_on.chars().next().unwrap_or('%');
        rest = verb_on.get(verb.len_utf8()..).unwrap_or_default();
        if verb == '%' {
            out.push('%');
            continue;
        }
        if next >= args.len() {
            return Err(format!("not enough arguments for %{verb}"));
        }
        out.push_str(&one(args, next, verb, flags)?);
        next += 1;
    }
    if next < args.len() {
        return Err(format!("too many arguments; only {} used by the format string", next - 1));
    }
    Ok((out + rest).into())
}

fn one(args: &FuncArgs, at: usize, verb: char, flags: &str) -> Result<String, String> {
    let (width, precision) = flags.split_once('.').unwrap_or((flags, ""));
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { places(text.parse().ok()) };
    let precision = Some(digits(precision)?).filter(|_| !precision.is_empty());
    let own = match verb {
        's' | 't' => text(args, at)?,
        'v' => match value(args, at) {
            Value::Null => "null".to_owned(),
            own => match plain(own) {
                Some(own) => own,
                None => serde_json::to_string(own).map_err(|error| error.to_string())?,
            },
        },
        'q' => format!("{:?}", text(args, at)?),
        'd' => whole(args, at)?.to_string(),
        'x' => format!("{:x}", whole(args, at)?),
        'f' => format!("{:.*}", precision.unwrap_or(6), number(args, at)?),
        other => return Err(format!("the verb %{other} is not known here")),
    };
    let size = digits(width.trim_start_matches(['-', '0']))?;
    Ok(match width.chars().next() {
        Some('-') => format!("{own:<size$}"),
        Some('0') => match own.strip_prefix('-') {
            Some(digits) => format!("-{digits:0>width$}", width = size.saturating_sub(1)),
            None => format!("{own:0>size$}"),
        },
        _ => format!("{own:>size$}"),
    })
}
