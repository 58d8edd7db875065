//! Thumbnails: choosing a size for a request, and making them.

pub mod animation;

use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use fast_image_resize::images::Image;
use fast_image_resize::{IntoImageView as _, ResizeOptions, Resizer};
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits};
use plexus_base::private;

/// How much of an image is read for its width and height. They come after its metadata.
const MAX_HEADER_BYTES: u64 = 512 << 10;
/// The most bytes of metadata that is decompressed for that.
const MAX_METADATA_BYTES: u64 = 1 << 20;

/// How an image is fitted into the requested size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Fill the size, and cut off the rest.
    Crop,
    /// Fit into the size, keeping the aspect ratio.
    Scale,
}

impl Method {
    /// Returns the name in the API and in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Scale => "scale",
        }
    }
}

/// A size in which thumbnails are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThumbnailSize {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How an image is fitted into the size.
    pub method: Method,
}

/// A client's request for a thumbnail.
#[derive(Debug, Clone, Copy)]
pub struct ThumbnailRequest {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How an image is fitted into the size.
    pub method: Method,
    /// Whether the client prefers an animated one.
    pub animated: bool,
}

/// The largest side of a thumbnail in a requested size, in pixels.
const MAX_SIDE: u32 = 2048;

impl ThumbnailRequest {
    /// Returns exactly the requested size, within bounds.
    pub fn exact(self) -> ThumbnailSize {
        ThumbnailSize {
            width: self.width.clamp(1, MAX_SIDE),
            height: self.height.clamp(1, MAX_SIDE),
            method: self.method,
        }
    }
}

/// The format a thumbnail is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Without transparency.
    Jpeg,
    /// With transparency.
    Png,
    /// Animated.
    Gif,
}

impl Format {
    /// Returns the content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
        }
    }

    pub(crate) fn subtype(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
        }
    }
}

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The content type is none of which thumbnails are made.
    #[error("there are no thumbnails of this content type")]
    NotAnImage,
    /// The image is too large to be decoded.
    #[error("the image has {pixels} pixels, more than {limit}")]
    TooManyPixels {
        /// The image's.
        pixels: u64,
        /// The most.
        limit: u64,
    },
    /// The image cannot be decoded.
    #[error("the image cannot be read: {0}")]
    Unreadable(#[from] image::ImageError),
    /// The image cannot be resized.
    #[error("the image cannot be resized: {0}")]
    Resize(#[from] fast_image_resize::ResizeError),
    /// A file could not be read or written.
    #[error("media store: {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// Returns the format for thumbnails of `content_type`: PNG if it may be transparent. `None` if there are no thumbnails
/// of this type.
pub fn format_for(content_type: &str) -> Option<Format> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "image/jpeg" | "image/jpg" => Some(Format::Jpeg),
        "image/png" | "image/apng" | "image/gif" | "image/webp" => Some(Format::Png),
        _ => None,
    }
}

/// Returns the configured size that fits `request` best: the smallest that is at least as large, of the same method
/// before the other; the largest if all are smaller. If no size is configured, returns the requested one.
pub fn choose(sizes: &[ThumbnailSize], request: ThumbnailRequest) -> ThumbnailSize {
    let area = |size: &ThumbnailSize| u64::from(size.width) * u64::from(size.height);
    let covers = |size: &&ThumbnailSize| size.width >= request.width && size.height >= request.height;
    let same_method = |size: &&ThumbnailSize| size.method == request.method;
    let smallest_covering =
        |candidates: Vec<&ThumbnailSize>| candidates.into_iter().filter(covers).min_by_key(|size| area(size)).copied();
    let of_method: Vec<_> = sizes.iter().filter(same_method).collect();
    smallest_covering(of_method.clone())
        .or_else(|| of_method.into_iter().max_by_key(|size| area(size)).copied())
        .or_else(|| smallest_covering(sizes.iter().collect()))
        .or_else(|| sizes.iter().max_by_key(|size| area(size)).copied())
        .unwrap_or_else(|| request.exact())
}

/// Makes the thumbnail of the image at `source` and moves it to `target`; `spare` makes its temporary name unique.
/// Blocking.
pub fn make(
    source: &Path,
    target: &Path,
    spare: &str,
    size: ThumbnailSize,
    format: Format,
    max_pixels: u64,
) -> Result<(), ThumbnailError> {
    let image = decode(source, max_pixels)?;
    let small = resize(image, size, format)?;
    let io = |error| ThumbnailError::Io { path: target.to_owned(), error };
    let incomplete = target.with_extension(spare);
    target.parent().map_or(Ok(()), private::create_folders).map_err(io)?;
    let mut file =
        BufWriter::new(private::options().write(true).create(true).truncate(true).open(&incomplete).map_err(io)?);
    match format {
        Format::Jpeg => small.write_with_encoder(JpegEncoder::new_with_quality(&mut file, 80))?,
        Format::Png => small.write_with_encoder(PngEncoder::new(&mut file))?,
        Format::Gif => small.write_with_encoder(GifEncoder::new(&mut file))?,
    }
    file.flush().and_then(|()| fs::rename(&incomplete, target)).map_err(io)
}

fn decode(source: &Path, max_pixels: u64) -> Result<DynamicImage, ThumbnailError> {
    let io = |error| ThumbnailError::Io { path: source.to_owned(), error };
    let mut reader =
        ImageReader::new(BufReader::new(fs::File::open(source).map_err(io)?)).with_guessed_format().map_err(io)?;
    reader.limits(limits(max_pixels));
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels {
        return Err(ThumbnailError::TooManyPixels { pixels, limit: max_pixels });
    }
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Returns the width and height of the image in `file` as it is shown; `None` if it is not an image of a known type.
/// Only its start is read: decoders hold some metadata in memory, of any size. Blocking.
pub(crate) fn dimensions(file: impl Read) -> Option<(u32, u32)> {
    let mut start = Vec::new();
    file.take(MAX_HEADER_BYTES).read_to_end(&mut start).ok()?;
    let mut reader = ImageReader::new(io::Cursor::new(start)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_METADATA_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let is_turned = decoder.orientation().is_ok_and(|orientation| {
        use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
    });
    Some(if is_turned { (height, width) } else { (width, height) })
}

fn limits(max_pixels: u64) -> Limits {
    let mut limits = Limits::default();
    // Four bytes a pixel, and as much again for the decoder.
    limits.max_alloc = Some(max_pixels.saturating_mul(8));
    limits
}

fn resize(image: DynamicImage, size: ThumbnailSize, format: Format) -> Result<DynamicImage, ThumbnailError> {
    // Both output formats are written with eight bits a channel. The code for other pixels is not even compiled in.
    let image = DynamicImage::ImageRgba8(image.into_rgba8());
    let (width, height) = fit(image.width(), image.height(), size);
    let Some(pixel_type) = image.pixel_type() else {
        return Err(ThumbnailError::NotAnImage);
    };
    // JPEG has no transparency.
    let mut options = ResizeOptions::new().use_alpha(format != Format::Jpeg);
    if size.method == Method::Crop {
        options = options.fit_into_destination(None);
    }
    let mut small = Image::new(width, height, pixel_type);
    Resizer::new().resize(&image, &mut small, &options)?;
    let small = image::RgbaImage::from_raw(width, height, small.into_vec()).ok_or(ThumbnailError::NotAnImage)?;
    let small = DynamicImage::ImageRgba8(small);
    Ok(match format {
        Format::Jpeg => DynamicImage::ImageRgb8(small.into_rgb8()),
        Format::Png | Format::Gif => small,
    })
}

/// Returns the thumbnail's width and height. No image is enlarged.
fn fit(width: u32, height: u32, size: ThumbnailSize) -> (u32, u32) {
    let ratio = |target: u32, side: u32| f64::from(target) / f64::from(side.max(1));
    match size.method {
        Method::Crop => (size.width.min(width).max(1), size.height.min(height).max(1)),
        Method::Scale => {
            let factor = ratio(size.width, width).min(ratio(size.height, height)).min(1.0);
            // Both are at most the original side, which is a u32.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1..=side")]
            let scaled = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
            (scaled(width), scaled(height))
        }
    }
}

/// How many thumbnails of one image are stored in sizes that clients choose (`dynamic_thumbnails`), of which there are
/// eight million; further ones are made in the configured sizes only.
const MAX_DYNAMIC_THUMBNAILS: usize = 32;

/// Whether `folder` holds as many thumbnails as are made in sizes that clients choose.
pub async fn has_many_files(folder: &Path) -> bool {
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
        return false;
    };
    for _ in 0..MAX_DYNAMIC_THUMBNAILS {
        if !matches!(entries.next_entry().await, Ok(Some(_))) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
