//! What `std` offers everyone has to be looked for in the source itself.

use anyhow::Context;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::rules;

/// One impure thing and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Line in the file, from 1.
    pub(super) line: usize,
    /// What was found, and what to do instead.
    pub(super) what: String,
}

/// What one file has, its tests left out: a test may read its fixtures.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Everything impure.
    pub(super) violations: Vec<Violation>,
    /// Modules that are in files of their own, as paths of names relative to this one.
    pub(super) modules: Vec<Vec<String>>,
    /// The inline modules around what is being visited.
    around: Vec<String>,
}

/// Macros that write to a stream.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Read one file.
pub(super) fn read(text: &str) -> anyhow::Result<Seen> {
    let file = syn::parse_file(text).context("not valid Rust")?;
    let mut seen = Seen::default();
    if !for_tests(&file.attrs) {
        seen.visit_file(&file);
    }
    Ok(seen)
}

impl Seen {
    fn report(&mut self, at: Span, what: &str, instead: &str) {
        let line = at.start().line;
        self.violations.push(Violation { line, what: format!("`{what}`: {instead}") });
    }

    fn check_path(&mut self, segments: &[String], at: Span) {
        for (what, instead) in rules::broken_by(segments) {
            self.report(at, what, instead);
        }
    }

    fn check_use(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.check_use(&path.tree, prefix);
            }
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.check_use(item, prefix.clone());
                }
            }
            syn::UseTree::Name(name) => {
                // `use std::io::{self}` names the path before it.
                if name.ident != "self" {
                    prefix.push(name.ident.to_string());
                }
                self.check_path(&prefix, name.span());
            }
            syn::UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    prefix.push(rename.ident.to_string());
                }
                self.check_hiding(&prefix, rename.span());
                self.check_path(&prefix, rename.span());
            }
            syn::UseTree::Glob(glob) => {
                self.check_hiding(&prefix, glob.span());
                self.check_path(&prefix, glob.span());
            }
        }
    }

    /// `use std::*`, `use std as s` and the like would hide what is used after them.
    fn check_hiding(&mut self, path: &[String], at: Span) {
        if path == ["std"] || path == ["std", "io"] {
            self.report(at, &path.join("::"), "name what you use of it");
        }
    }

    /// A macro's input is tokens, whatever they will mean: every path in them counts.
    fn check_tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut path: Vec<String> = Vec::new();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) => {
                    let name = ident.to_string();
                    if name == "async" || name == "await" {
                        self.report(ident.span(), &name, rules::ASYNC);
                    }
                    path.push(name);
                    let goes_on = matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == ':'
                        && p.spacing() == proc_macro2::Spacing::Joint);
                    if !goes_on {
                        self.check_path(&path, ident.span());
                        path.clear();
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                TokenTree::Group(group) => {
                    path.clear();
                    self.check_tokens(group.stream());
                }
                _ => path.clear(),
            }
        }
    }
}

impl<'ast> Visit<'ast> for Seen {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).is_some_and(for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.around.push(module.ident.to_string());
        if module.content.is_none() {
            self.modules.push(self.around.clone());
        }
        visit::visit_item_mod(self, module);
        self.around.pop();
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() {
            self.report(signature.span(), "async fn", rules::ASYNC);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.report(block.span(), "async block", rules::ASYNC);
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if closure.asyncness.is_some() {
            self.report(closure.span(), "async closure", rules::ASYNC);
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_await(&mut self, expr: &'ast syn::ExprAwait) {
        self.report(expr.await_token.span(), ".await", rules::ASYNC);
        visit::visit_expr_await(self, expr);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.check_use(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.check_path(&segments, path.span());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut segments: Vec<String> = call.path.segments.iter().map(|s| s.ident.to_string()).collect();
        // The last name is the macro's own: `std::env!` reads the compiler's environment, not the process's.
        let name = segments.pop().unwrap_or_default();
        if PRINTING.contains(&name.as_str()) {
            self.report(call.path.span(), &format!("{name}!"), rules::PRINT);
        }
        if name == "include" {
            self.report(call.path.span(), "include!", "code from elsewhere is not checked: make it a module");
        }
        self.check_path(&segments, call.path.span());
        self.check_tokens(call.tokens.clone());
    }
}

/// Whether something with these attributes is compiled for tests only.
fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("test") || a.path().is_ident("cfg") && requires_test(&a.meta))
}

/// `cfg(test)`, or `cfg(all(…))` with `test` among what it asks for.
fn requires_test(meta: &syn::Meta) -> bool {
    let syn::Meta::List(list) = meta else { return meta.path().is_ident("test") };
    if !list.path.is_ident("cfg") && !list.path.is_ident("all") {
        return false;
    }
    let parser = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
    list.parse_args_with(parser).is_ok_and(|inner| inner.iter().any(requires_test))
}

fn attributes(item: &syn::Item) -> Option<&[syn::Attribute]> {
    use syn::Item;
    Some(match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::ExternCrate(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::ForeignMod(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::TraitAlias(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
