//! The public interface, a line for each item, so that a change of it is a decision.
//!
//! It is read from the pages of `cargo doc`, which take a while to make: hence `--ignored`. To write the list anew:
//! `DAGRAD_WRITE_LISTINGS=1 cargo test --test documents public -- --ignored`

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::root;

/// The list in the repository.
const LIST: &str = "tests/documents/public.txt";

/// Names beside the crate's own: of the standard library, of `ndarray`, and of `num-traits`, on which `ndarray`'s own
/// interface stands.
const KNOWN: &str = "Add AddAssign Arc Array1 Array2 Array3 Array4 ArrayBase ArrayD ArrayView ArrayView2 ArrayView3 \
    ArrayView4 ArrayViewD ArrayViewMutD AsRef Box Cow Clone Copy Data Debug Default Deref Dimension Display Div Drop Duration Eq \
    Error Fn FnOnce From FromIterator Hash Into IntoIterator Item Iterator Mul Neg Option Ord Output PartialEq PartialOrd \
    Path PathBuf Range Self Send Sized String Sub Sum Sync Target Vec Any Float NumAssign Array BTreeMap Elem \
    ExactSizeIterator FnMut FusedIterator Plain RangeBounds Dim IxDynImpl OwnedRepr";

/// The pages of the documentation, made anew.
fn pages() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), PathBuf::from);
    let doc = ["doc", "--locked", "--no-deps", "--package", "dagrad", "--target-dir"];
    let done = Command::new(cargo).current_dir(root()).args(doc).arg(&target).status().expect("cargo starts");
    assert!(done.success(), "the documentation is not built");
    target.join("doc/dagrad")
}

/// What lies between each `start` and the `end` after it.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// The text before a mark, or all of it.
fn before<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split(mark).next().unwrap_or(text)
}

/// HTML as a line of text.
fn plain(html: &str) -> String {
    let mut text = String::new();
    for (number, part) in html.split('<').enumerate() {
        let (tag, shown) = if number == 0 { ("", part) } else { part.split_once('>').unwrap_or((part, "")) };
        text += if tag.starts_with("div") || tag == "/div" || tag.starts_with("br") { " " } else { "" };
        text += shown;
    }
    let signs =
        [("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&quot;", "\""), ("&nbsp;", " "), ("&amp;", "&")];
    let text = signs.iter().fold(text, |text, (sign, character)| text.replace(sign, character));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace("( ", "(").replace(", )", ")")
}

/// The lines of an item: its declaration, then fields, variants, methods and the traits that it implements.
fn lines(path: &str, page: &str) -> Vec<String> {
    let declaration = between(page, "<pre class=\"rust item-decl\"><code>", "</code></pre>").next();
    let declaration = plain(declaration.unwrap_or_else(|| panic!("{path} has no declaration")));
    let has_body = ["struct ", "enum ", "trait "].iter().any(|kind| declaration.contains(kind));
    let head = if has_body { before(&declaration, " {") } else { &declaration };
    let mut found = vec![format!("{path}: {head}")];
    let (own, traits) = page.split_once("id=\"trait-implementations\"").unwrap_or((page, ""));
    let others = [
        "id=\"synthetic-implementations\"",
        "id=\"deref-methods-",
        "id=\"foreign-impls\"",
        "id=\"implementors\"",
    ];
    let own = others.iter().fold(own, |own, mark| before(own, mark));
    for field in ["<span id=\"structfield.", "<span id=\"variant."] {
        for field in between(own, field, "</span>") {
            let owner =
                field.split_once(".field.").map_or(String::new(), |(variant, _)| format!("::{variant}"));
            found.extend(
                between(field, "<code>", "</code>").map(|code| format!("{path}{owner}.{}", plain(code))),
            );
        }
    }
    for kind in ["variant", "tymethod", "method", "associatedtype", "associatedconstant"] {
        for section in between(own, &format!("<section id=\"{kind}."), "</section>") {
            let code = between(section, "class=\"code-header\">", "</h").next();
            found.extend(code.map(|code| format!("{path}::{}", plain(code))));
        }
    }
    for section in
        between(before(traits, "id=\"synthetic-implementations\""), "<section id=\"impl-", "</section>")
    {
        let code = between(section, "<h3 class=\"code-header\">", "</h3>").next();
        found.extend(code.map(|code| format!("{path}: {}", plain(code))));
    }
    found.retain(|line| !line.contains(" StructuralPartialEq for "));
    found
}

/// The public interface.
fn interface() -> BTreeSet<String> {
    let folder = pages();
    let read =
        |page: &str| fs::read_to_string(folder.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let all = read("all.html");
    let links = between(&all, "<li><a href=\"", "</a></li>").filter_map(|link| link.split_once("\">"));
    let items = links.filter(|(page, _)| !page.starts_with('#'));
    items.flat_map(|(page, path)| lines(path, &read(page))).collect()
}

#[test]
#[ignore = "it makes the documentation"]
fn the_public_interface_changes_only_by_decision() {
    let found = interface();
    assert!(found.len() > 500, "only {} lines: are this compiler's pages other ones?", found.len());
    let path = root().join(LIST);
    if std::env::var_os("DAGRAD_WRITE_LISTINGS").is_some() {
        let text: String = found.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).expect("a list that can be written");
    }
    let decided: BTreeSet<String> =
        fs::read_to_string(&path).expect("the list").lines().map(str::to_string).collect();
    let new = found.difference(&decided).map(|line| format!("\n+ {line}"));
    let changes: String = new.chain(decided.difference(&found).map(|line| format!("\n- {line}"))).collect();
    assert!(changes.is_empty(), "{LIST} is another interface (how to write it anew: {}):{changes}", file!());
}

#[test]
fn the_public_interface_names_only_what_its_users_can_name() {
    let list = fs::read_to_string(root().join(LIST)).expect("the list");
    let words = |line: &str| -> Vec<String> {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_string).collect()
    };
    // What stands before the first signs of a signature is a path, and a variant's name.
    let paths =
        list.lines().flat_map(|line| words(before(before(line, ": "), "("))).filter(|word| word != "pub");
    let known: BTreeSet<String> = paths.chain(words(KNOWN)).collect();
    let is_type = |word: &str| {
        word.len() > 1 && word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase)
    };
    let unknown: Vec<String> = (list.lines())
        .flat_map(|line| words(line).into_iter().map(move |word| (word, line)))
        .filter(|(word, _)| is_type(word) && !known.contains(word))
        .map(|(word, line)| format!("{word} in {line}"))
        .collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// The backquoted words of a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn what_the_readme_says_is_there_is_public() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("## What there is").expect("its section");
    let list = fs::read_to_string(root().join(LIST)).unwrap();
    let functions: BTreeSet<&str> =
        list.lines().filter_map(|line| before(line.split_once("fn ")?.1, "(").split('<').next()).collect();
    let names: Vec<&str> =
        quoted(before(rest, "## ")).map(|name| name.rsplit("::").next().unwrap_or(name)).collect();
    assert!(names.len() > 50, "{names:?}");
    let unknown: Vec<_> = names.iter().filter(|name| !functions.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_readme_asks_for_the_version_of_ndarray_that_the_crate_has() {
    let [readme, own] =
        ["README.md", "Cargo.toml"].map(|path| fs::read_to_string(root().join(path)).unwrap());
    let version =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("ndarray = ").map(str::to_owned));
    assert_eq!(version(&readme).expect("a line for it"), version(&own).expect("a line for it"));
}
