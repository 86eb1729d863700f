//! `traceparent`, as W3C's Trace Context has it: `00-<trace>-<span>-<flags>` in lower-case hex digits.
//!
//! Its companion `tracestate` is neither read nor sent: it is whatever a caller wrote, and would be exported with each span.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of the parts that every version has.
const LENGTH: usize = 55;

/// The span that these headers name. Headers that name two, or none in the right form, name none.
pub(crate) fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(HEADER).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    parse(value.to_str().ok()?)
}

/// The header of a span.
pub(crate) fn write(span: &SpanContext) -> Option<HeaderValue> {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    let text = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    HeaderValue::from_str(&text).ok()
}

fn parse(text: &str) -> Option<SpanContext> {
    let (known, more) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let mut part = |digits: usize| parts.next().filter(|part| is_hex(part, digits));
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // A later version may say more behind a dash.
    let whole = match version {
        "00" => more.is_empty(),
        "ff" => false,
        _ => more.is_empty() || more.starts_with('-'),
    };
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let span = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags,
        true,
        TraceState::NONE,
    );
    (whole && span.is_valid()).then_some(span)
}

fn is_hex(text: &str, digits: usize) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == digits && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(values: &[&str]) -> Option<SpanContext> {
        let header = |value: &&str| (HEADER, HeaderValue::from_str(value).unwrap());
        read(
            &values
                .iter()
                .map(header)
                .collect::<Vec<_>>()
                .into_iter()
                .fold(HeaderMap::new(), |mut all, (name, value)| {
                    all.append(name, value);
                    all
                }),
        )
    }

    #[test]
    fn a_header_comes_back_as_it_was_sent() {
        for text in [WHOLE, &WHOLE.replace("-01", "-00")] {
            let span = of(&[text]).unwrap();
            assert!(span.is_remote());
            assert_eq!(span.is_sampled(), text == WHOLE);
            assert_eq!(write(&span).unwrap(), text);
        }
        // What a later version says is understood as far as it is known.
        let later = WHOLE.replacen("00", "01", 1);
        assert!(of(&[&later]).is_some());
        assert!(of(&[&format!("{later}-more")]).is_some());
        let all_flags = of(&[&WHOLE.replace("-01", "-ff")]).unwrap();
        assert_eq!(write(&all_flags).unwrap(), WHOLE);
    }

    #[test]
    fn what_is_no_header_names_nothing() {
        for wrong in [
            "",
            "00",
            &WHOLE[..54],
            &format!("{WHOLE}-more"),
            &format!("{WHOLE}0"),
            &WHOLE.replacen("00", "ff", 1),
            &WHOLE.replace('f', "F"),
            &WHOLE.replace('-', "_"),
            &WHOLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &WHOLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &WHOLE.replace("4bf9", "+bf9"),
            &format!("0{}", &WHOLE[..54]),
        ] {
            assert_eq!(of(&[wrong]), None, "{wrong:?}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[WHOLE, WHOLE]), None, "which of the two?");
    }
}
