//! Text in JSON's form.

/// An object of these fields, each of which is JSON already.
pub fn object<const N: usize>(fields: [(&str, String); N]) -> String {
    let fields = fields.map(|(name, value)| format!("{}:{value}", text(name)));
    format!("{{{}}}", fields.join(","))
}

/// An array, an element on each line.
pub fn array(elements: impl Iterator<Item = String>) -> String {
    format!("[\n{}\n]", elements.collect::<Vec<_>>().join(",\n"))
}

/// A number; null where there is none, or none that JSON can write.
pub fn number(value: impl Into<Option<f64>>) -> String {
    value.into().filter(|value| value.is_finite()).map_or("null".to_string(), |value| value.to_string())
}

/// A string.
pub fn text(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control @ '\0'..='\x1f' => quoted += &format!("\\u{:04x}", control as u32),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}
