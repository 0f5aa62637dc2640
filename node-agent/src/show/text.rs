//! A message as lines: what it is about, then what it says.

use std::fmt::Display;
use std::io::{self, Write};

use esplanade_xfrm::wire::shown::{Attribute, Content, Owner, Policy, Sa, SaName, Selector, Shown, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The lines, each with its end.
pub(super) fn of(shown: &Shown) -> String {
    let mut text = headline(shown);
    if !matches!(
        shown.content,
        Content::Counts {}
            | Content::PoliciesFlushed {}
            | Content::Flushed { .. }
            | Content::Defaults { .. }
            | Content::Unreadable { .. }
    ) {
        // The name of the variant, then what is in it.
        text.push_str(&in_words(&shown.content, Lines::at(2)));
    }
    for attribute in &shown.attributes {
        let value = in_words(&attribute.value, Lines::at(0));
        text.push_str(&format!("\n    {} {value}", attribute.name));
    }
    if shown.unread_bytes > 0 {
        text.push_str(&format!("\n    and {} bytes that are no attribute", shown.unread_bytes));
    }
    text.push('\n');
    text
}

fn headline(shown: &Shown) -> String {
    let about = match &shown.content {
        Content::Sa(one) => sa(one),
        // The attribute has all of it.
        Content::SaName(name) => match shown.attributes.iter().find_map(deleted_sa) {
            Some(one) => sa(one),
            None => sa_name(&"?", name),
        },
        Content::Policy(policy) => packets(&policy.direction, &policy.selector),
        Content::PolicyName(name) => match shown.attributes.iter().find_map(deleted_policy) {
            Some(policy) => packets(&policy.direction, &policy.selector),
            None => packets(&name.direction, &name.selector),
        },
        Content::Migrated(name) => packets(&name.direction, &name.selector),
        Content::Acquire(acquire) => sa_name(&acquire.source, &acquire.name),
        Content::Expired { hard, sa: one } => format!("{}, {}", sa(one), limit(*hard)),
        Content::PolicyExpired { hard, policy } => {
            format!("{}, {}", packets(&policy.direction, &policy.selector), limit(*hard))
        }
        Content::Counters { source, name, .. } => sa_name(source, name),
        Content::StateMigrated(moved) => sa_name(&"?", &moved.name),
        Content::Report { protocol, selector } => packets(protocol, selector),
        Content::Mapping(mapping) => format!(
            "{}, now from {} port {}",
            sa_name(&mapping.old_source, &mapping.name),
            mapping.new_source,
            mapping.new_port
        ),
        Content::Counts {} | Content::PoliciesFlushed {} => String::new(),
        Content::Defaults { inbound, forward, out } => format!("in {inbound}, fwd {forward}, out {out}"),
        Content::Flushed { protocol } => format!("protocol {protocol}"),
        Content::Unreadable { withheld_bytes } => format!("{withheld_bytes} bytes that can't be read"),
    };
    let owner = shown.owner.map(|owner| match owner {
        Owner::Ours => ", ours",
        Owner::Foreign => ", foreign",
        Owner::Larval => ", larval",
        Owner::Kernel => ", the kernel's own",
        Owner::Socket => ", of a socket",
    });
    let by = match shown.port {
        0 => String::new(),
        port => format!(", by port {port}"),
    };
    let space = if about.is_empty() { "" } else { " " };
    format!("{}{space}{about}{}{by}", shown.message, owner.unwrap_or_default())
}

fn sa(sa: &Sa) -> String {
    sa_name(&sa.source, &sa.name)
}

fn sa_name(source: &impl Display, name: &SaName) -> String {
    format!("{} {source} > {} spi {}", name.protocol, name.destination, name.spi)
}

fn deleted_sa(attribute: &Attribute) -> Option<&Sa> {
    match &attribute.value {
        Value::Sa(sa) => Some(sa),
        _ => None,
    }
}

fn deleted_policy(attribute: &Attribute) -> Option<&Policy> {
    match &attribute.value {
        Value::Policy(policy) => Some(policy),
        _ => None,
    }
}

fn packets(direction: &impl Display, selector: &Selector) -> String {
    format!("{direction} {} > {}", selector.source, selector.destination)
}

fn limit(hard: bool) -> &'static str {
    if hard { "hard" } else { "soft" }
}

fn in_words(value: &impl Serialize, lines: Lines) -> String {
    let mut bytes = Vec::new();
    // Neither a vector nor what is shown here can fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, lines));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// JSON without its marks: the fields at one depth on lines of their own, those inside them in parentheses.
struct Lines {
    depth: usize,
    /// The depth whose fields have lines of their own; 0: none.
    of_its_own: usize,
    /// In a name that isn't shown.
    silent: bool,
}

impl Lines {
    fn at(of_its_own: usize) -> Self {
        Self { depth: 0, of_its_own, silent: false }
    }

    fn is_inside(&self) -> bool {
        self.depth > self.of_its_own.max(1)
    }

    fn begin<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.is_inside() {
            writer.write_all(b"(")?;
        }
        Ok(())
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.is_inside() {
            writer.write_all(b")")?;
        }
        self.depth -= 1;
        Ok(())
    }
}

impl Formatter for Lines {
    fn begin_string<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }

    fn end_string<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }

    fn write_null<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        match self.depth {
            depth if depth == self.of_its_own => writer.write_all(b"\n    "),
            depth if depth < self.of_its_own => {
                self.silent = true;
                Ok(())
            }
            _ if first => Ok(()),
            _ => writer.write_all(b", "),
        }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.silent = false;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(if self.silent { b"" } else { fragment.as_bytes() })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.depth < self.of_its_own { b"" } else { b" " })
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }
}
