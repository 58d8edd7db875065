//! The namespaces of one kind of all application services.

use regex::{RegexSet, RegexSetBuilder};

use super::registration::Namespace;

/// The most bytes that the compiled namespaces of one kind may take: far more than hundreds of services need.
const MAX_COMPILED_BYTES: usize = 64 << 20;

/// Finds the services that claim a name, in one pass over the name.
#[derive(Debug, Default)]
pub(super) struct NamespaceIndex {
    expressions: RegexSet,
    /// The number of the service to which each expression belongs.
    owners: Vec<usize>,
}

impl NamespaceIndex {
    /// Creates the index from the namespaces of each service.
    pub(super) fn new<'n>(services: impl Iterator<Item = &'n [Namespace]>) -> Result<Self, regex::Error> {
        let owned = services.enumerate().flat_map(|(number, namespaces)| namespaces.iter().map(move |n| (number, n)));
        let (owners, sources): (Vec<usize>, Vec<&str>) = owned.map(|(number, n)| (number, n.regex.as_str())).unzip();
        let expressions = RegexSetBuilder::new(sources).size_limit(MAX_COMPILED_BYTES).build()?;
        Ok(Self { expressions, owners })
    }

    /// Whether no service claims anything.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Returns the numbers of the services that claim a name, in order.
    pub(super) fn of(&self, name: &str) -> Vec<usize> {
        if self.owners.is_empty() {
            return Vec::new();
        }
        let matches = self.expressions.matches(name);
        let mut services: Vec<usize> = matches.iter().filter_map(|index| self.owners.get(index).copied()).collect();
        services.dedup();
        services
    }
}
