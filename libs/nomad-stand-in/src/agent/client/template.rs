//! The `template` block: plain text with `{{ env "NAME" }}`.
//!
//! In: a template and variables. Out: a text. Anything else between `{{` and `}}` is an error that names it: Nomad's whole
//! template language is not here.

use std::collections::BTreeMap;

/// Renders a text.
pub(super) fn render(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, after) = after.split_once("}}").ok_or("template: an action has no end }}")?;
        let (before, inner) = match inner.strip_prefix('-') {
            Some(inner) => (before.trim_end(), inner),
            None => (before, inner),
        };
        let (inner, after) = match inner.strip_suffix('-') {
            Some(inner) => (inner, after.trim_start()),
            None => (inner, after),
        };
        result.push_str(before);
        result.push_str(&value(inner.trim(), variables)?);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn value(action: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    if action.starts_with("/*") && action.ends_with("*/") {
        return Ok(String::new());
    }
    let unquote = |text: &str| text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    let name = action.strip_prefix("env").filter(|rest| rest.starts_with(char::is_whitespace));
    match name
        .and_then(|name| unquote(name.trim()))
        .or_else(|| unquote(action).map(|_| String::new()))
    {
        Some(name) if name.is_empty() => Ok(unquote(action).unwrap_or_default()),
        Some(name) => Ok(variables.get(&name).cloned().unwrap_or_default()),
        None => Err(format!(
            "template: {{{{ {action} }}}}: this stand-in knows only {{{{ env \"NAME\" }}}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_and_other_actions_are_named_as_errors() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("a = {{ env \"A\" }}!", Ok("a = 1!")),
            ("a = {{env \"NO\"}}", Ok("a = ")),
            ("x  {{- env \"A\" -}}  y", Ok("x1y")),
            ("{{ \"{{\" }}", Ok("{{")),
            (
                "{{ range service \"web\" }}",
                Err(
                    "template: {{ range service \"web\" }}: this stand-in knows only {{ env \"NAME\" }}",
                ),
            ),
            ("{{ env", Err("template: an action has no end }}")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(render(text, &variables), expected, "{text}");
        }
    }
}
