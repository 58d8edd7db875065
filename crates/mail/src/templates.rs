//! Jinja templates with the names, variables and filters of Synapse's: those of administrators replace the built-in
//! ones.

mod filters;

use std::path::PathBuf;

use minijinja::value::Value;
use minijinja::{Environment, TemplateSource, path_loader};

/// Where the administrator's templates are, and how those are named that have a name of their own.
#[derive(Debug, Clone, Default)]
pub struct TemplateSettings {
    /// Folders in which templates are looked for, before the built-in ones.
    pub folders: Vec<PathBuf>,
    /// The names of the templates.
    pub names: TemplateNames,
    /// What URLs of media begin with: `public_baseurl`, with a `/` at its end.
    pub public_base_url: String,
}

/// The names of templates.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "a field is named for its template")]
pub struct TemplateNames {
    pub add_threepid_html: String,
    pub add_threepid_text: String,
    pub add_threepid_success: String,
    pub add_threepid_failure: String,
}

impl Default for TemplateNames {
    fn default() -> Self {
        Self {
            add_threepid_html: "add_threepid.html".to_owned(),
            add_threepid_text: "add_threepid.txt".to_owned(),
            add_threepid_success: "add_threepid_success.html".to_owned(),
            add_threepid_failure: "add_threepid_failure.html".to_owned(),
        }
    }
}

impl TemplateNames {
    fn all(&self) -> [&str; 4] {
        [&self.add_threepid_html, &self.add_threepid_text, &self.add_threepid_success, &self.add_threepid_failure]
    }
}

/// A template cannot be used: it does not exist, has a mistake, or fails with its variables.
#[derive(Debug, thiserror::Error)]
#[error("the template {name} cannot be used: {error}{}", place(.error))]
pub struct TemplateError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub error: minijinja::Error,
}

fn place(error: &minijinja::Error) -> String {
    match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!(" ({name}, line {line})"),
        _ => String::new(),
    }
}

/// Templates of mail, and of the pages to which links in mail lead.
pub struct Templates {
    environment: Environment<'static>,
    names: TemplateNames,
}

impl Templates {
    /// Reads all templates.
    ///
    /// # Errors
    /// When one of them does not exist or has a mistake.
    pub fn read(settings: TemplateSettings) -> Result<Self, TemplateError> {
        let TemplateSettings { folders, names, public_base_url } = settings;
        let mut environment = Environment::new();
        let loaders: Vec<_> = folders.into_iter().map(path_loader).collect();
        environment.set_loader(move |name| {
            for load in &loaders {
                if let Some(found) = load(name)? {
                    return Ok(Some(found));
                }
            }
            Ok(built_in(name).map(|text| TemplateSource::new(text.to_owned())))
        });
        // Python's methods of texts and maps, which templates for Synapse may call.
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        filters::add_to(&mut environment, public_base_url);
        for name in names.all() {
            environment.get_template(name).map_err(|error| TemplateError { name: name.to_owned(), error })?;
        }
        Ok(Self { environment, names })
    }

    /// Returns the names of the templates.
    pub fn names(&self) -> &TemplateNames {
        &self.names
    }

    /// Returns a template with its variables filled in.
    ///
    /// # Errors
    /// When it cannot be filled in.
    pub(crate) fn render(&self, name: &str, variables: Value) -> Result<String, TemplateError> {
        let rendered = self.environment.get_template(name).and_then(|template| template.render(variables));
        rendered.map_err(|error| TemplateError { name: name.to_owned(), error })
    }

    /// Returns a mail with a link, or a page without variables of its own.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn render_texts(&self, name: &str, variables: &[(&str, &str)]) -> Result<String, TemplateError> {
        let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value)));
        self.render(name, Value::from_pairs(variables))
    }
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Returns a built-in template.
        fn built_in(name: &str) -> Option<&'static str> {
            match name {
                $( $name => Some(include_str!(concat!("../templates/", $name))), )*
                _ => None,
            }
        }
    };
}

built_in![
    "add_threepid.html",
    "add_threepid.txt",
    "add_threepid_failure.html",
    "add_threepid_success.html",
    "mail.css",
];

#[cfg(test)]
mod tests;
