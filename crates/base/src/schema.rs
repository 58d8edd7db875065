//! Options declared once: one declaration defines the struct, its parser, the list of known names, the reference page
//! and the sample file.

pub(crate) mod describe;
mod ip_range;
mod nearest;
mod problem;
mod reader;
mod scalar;
mod secret;
mod value;

pub use describe::{Field, Status};
pub use ip_range::{IpRange, every_address};
pub(crate) use nearest::nearest;
pub use problem::{Problem, Report, Setting};
pub use scalar::{FileMode, OneOrMany, parse_duration};
pub use secret::Secret;

pub(crate) use reader::{Fields, MapReader, Reader, Value};
#[cfg(test)]
pub(crate) use scalar::parse_size;

/// Declares the options of one object of the configuration file.
///
/// Each option is `status name: Type = default`. `status` is `acts`, `later`, `moot` or
/// `refused("reason; way out")`, as [`Status`] explains. Without a default an absent option is `None`, an empty list,
/// or an object with its own defaults; other types are required.
macro_rules! options {
    (
        $(#[doc = $about:literal])*
        pub struct $Section:ident $(checked by $check:path)? {
            $(
                $(#[doc = $doc:literal])*
                $status:ident $(($reason:literal))? $name:ident : $ty:ty $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        pub struct $Section {
            $( $(#[doc = $doc])* pub $name: $ty, )*
        }

        impl $crate::schema::Fields for $Section {
            fn read_fields(map: &mut $crate::schema::MapReader<'_, '_>) -> Option<Self> {
                $(
                    let $name = map.field::<$ty>(
                        stringify!($name),
                        $crate::schema::options!(@status $status $($reason)?),
                        || $crate::schema::options!(@default $($default)?),
                    );
                )*
                let section = Self { $( $name: $name?, )* };
                $( let section = $check(section, map); )?
                Some(section)
            }

            fn fields() -> Vec<$crate::schema::Field> {
                vec![$(
                    $crate::schema::Field::of::<$ty>(
                        stringify!($name),
                        &[$($doc),*],
                        $crate::schema::options!(@status $status $($reason)?),
                        $crate::schema::options!(@default $($default)?),
                    )
                ),*]
            }

            const ABOUT: &'static [&'static str] = &[$($about),*];
        }

        impl $crate::schema::Value for $Section {
            fn read(
                node: &$crate::yaml::Node,
                reader: &mut $crate::schema::Reader,
            ) -> Option<Self> {
                $crate::schema::MapReader::read(node, reader)
            }

            fn absent(reader: &mut $crate::schema::Reader) -> Option<Self> {
                $crate::schema::MapReader::read_absent(reader)
            }

            fn kind() -> String {
                "object".to_owned()
            }

            fn show(&self) -> Option<String> {
                $crate::schema::describe::object(&[
                    $((stringify!($name), $crate::schema::Value::show(&self.$name))),*
                ])
            }

            fn nested() -> Option<fn() -> Vec<$crate::schema::Field>> {
                Some(<$Section as $crate::schema::Fields>::fields)
            }
        }
    };
    (@status acts) => { $crate::schema::Status::Acts };
    (@status later) => { $crate::schema::Status::Later };
    (@status moot) => { $crate::schema::Status::Moot };
    (@status refused $reason:literal) => { $crate::schema::Status::Refused($reason) };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
}

/// Declares an option with a fixed set of values.
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        pub enum $Choice:ident {
            $( $(#[doc = $doc:literal])* $Variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Choice {
            $( $(#[doc = $doc])* $Variant, )*
        }

        impl $Choice {
            /// Returns the value as written in the file.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $word, )* }
            }
        }

        impl $crate::schema::Value for $Choice {
            fn read(
                node: &$crate::yaml::Node,
                reader: &mut $crate::schema::Reader,
            ) -> Option<Self> {
                let words = &[$($word),*];
                let variants = [$(Self::$Variant),*];
                reader.word(node, words).map(|index| variants[index])
            }

            fn kind() -> String {
                $crate::schema::describe::one_of(&[$($word),*])
            }

            fn show(&self) -> Option<String> {
                Some($crate::schema::describe::quoted(self.as_str()))
            }
        }
    };
}

pub(crate) use {choice, options};

#[cfg(test)]
mod tests;
