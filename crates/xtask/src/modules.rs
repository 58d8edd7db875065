//! The modules of a crate, and which module uses which.

mod paths;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::source::Source;

use paths::{Import, Mention};

/// How many re-exports are followed to find where an item is defined.
const MAX_REEXPORTS: usize = 10;

/// The modules of one crate: those that have a file, without tests.
#[derive(Debug)]
pub(crate) struct Modules<'a> {
    list: Vec<Module<'a>>,
}

#[derive(Debug)]
struct Module<'a> {
    parent: usize,
    children: BTreeMap<&'a str, usize>,
    /// By the name they bring into scope.
    imports: BTreeMap<&'a str, Import<'a>>,
    mentions: Vec<Mention<'a>>,
    file: Option<&'a str>,
}

/// Two modules of one folder, of which the first uses the second or one inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow<'a> {
    /// The module that both are in.
    pub(crate) parent: usize,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
}

/// A line that makes an [`Arrow`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) line: usize,
}

const ROOT: usize = 0;

impl<'a> Modules<'a> {
    /// The modules of the crate in `folder`, such as `crates/rooms`.
    pub(crate) fn new(folder: &str, sources: &'a [Source<'a>]) -> Self {
        let mut modules = Self { list: vec![Module::new(ROOT)] };
        let src = format!("{folder}/src/");
        for source in sources.iter().filter(|source| !source.is_test()) {
            let Some(path) = source.path.strip_prefix(&src).and_then(|path| path.strip_suffix(".rs")) else { continue };
            let mut at = ROOT;
            if !matches!(path, "lib" | "main") {
                for name in path.split('/') {
                    at = modules.child_or_new(at, name);
                }
            }
            let (imports, mentions) = paths::read(&source.tokens_without_tests());
            let module = &mut modules.list[at];
            module.imports.extend(imports);
            module.mentions.extend(mentions);
            module.file = Some(source.path);
        }
        modules
    }

    fn child_or_new(&mut self, parent: usize, name: &'a str) -> usize {
        if let Some(&child) = self.list[parent].children.get(name) {
            return child;
        }
        let child = self.list.len();
        self.list.push(Module::new(parent));
        self.list[parent].children.insert(name, child);
        child
    }

    /// The file of the module in which the item at `path`, as written in the module `from`, is defined.
    pub(crate) fn file_of(&self, from: &str, path: &[&str]) -> Option<&'a str> {
        let from = *self.list[ROOT].children.get(from)?;
        self.list[self.resolve(from, path, 0)?].file
    }

    /// The file or folder name of a module, for messages.
    pub(crate) fn folder_of(&self, crate_folder: &str, module: usize) -> String {
        let mut names = Vec::new();
        let mut at = module;
        while at != ROOT {
            let parent = self.list[at].parent;
            names.extend(self.list[parent].children.iter().find(|&(_, &child)| child == at).map(|(name, _)| *name));
            at = parent;
        }
        names.push("src");
        names.push(crate_folder);
        names.reverse();
        names.join("/")
    }

    /// Every arrow between two modules of one folder, with a line that makes it. A module and its own submodules
    /// count as one.
    pub(crate) fn arrows(&self) -> BTreeMap<Arrow<'a>, Place<'a>> {
        let mut arrows = BTreeMap::new();
        for (from, module) in self.list.iter().enumerate() {
            for mention in &module.mentions {
                let Some(to) = self.resolve(from, &mention.path, 0) else { continue };
                if let Some(arrow) = self.arrow(from, to) {
                    let file = module.file.unwrap_or_default();
                    arrows.entry(arrow).or_insert(Place { file, line: mention.line });
                }
            }
        }
        arrows
    }

    /// The module that defines the last name of `path`, as written in `from`; `None` when it is of another crate.
    fn resolve(&self, from: usize, path: &[&str], depth: usize) -> Option<usize> {
        let (&first, rest) = path.split_first()?;
        let start = &self.list[from];
        let (mut at, rest) = match first {
            "crate" => (ROOT, rest),
            "self" => (from, rest),
            "super" => (start.parent, rest),
            name if start.children.contains_key(name) => (from, path),
            name => {
                let import = start.imports.get(name).filter(|_| depth < MAX_REEXPORTS)?;
                return self.resolve(from, &[&import.path, rest].concat(), depth + 1);
            }
        };
        for (index, name) in rest.iter().enumerate() {
            let module = &self.list[at];
            if *name == "super" {
                at = module.parent;
            } else if let Some(&child) = module.children.get(name) {
                at = child;
            } else if let Some(import) = module.imports.get(name).filter(|_| depth < MAX_REEXPORTS) {
                return self.resolve(at, &[&import.path, &rest[index + 1..]].concat(), depth + 1);
            } else {
                break;
            }
        }
        Some(at)
    }

    /// From the module `from` to the module `to`, as an arrow between two in one folder, of which they are part.
    fn arrow(&self, from: usize, to: usize) -> Option<Arrow<'a>> {
        let (from, to) = (self.lineage(from), self.lineage(to));
        let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
        let parent = from[common - 1];
        let name_of = |module: &usize| self.list[parent].children.iter().find(|&(_, child)| child == module);
        let (from, _) = from.get(common).and_then(name_of)?;
        let (to, _) = to.get(common).and_then(name_of)?;
        Some(Arrow { parent, from, to })
    }

    /// The modules around `module`, from the root down to itself.
    fn lineage(&self, module: usize) -> Vec<usize> {
        let mut lineage = vec![module];
        let mut at = module;
        while at != ROOT {
            at = self.list[at].parent;
            lineage.push(at);
        }
        lineage.reverse();
        lineage
    }
}

impl Module<'_> {
    fn new(parent: usize) -> Self {
        Self { parent, children: BTreeMap::new(), imports: BTreeMap::new(), mentions: Vec::new(), file: None }
    }
}
