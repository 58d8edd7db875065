//! Animated thumbnails (client-server API, `GET /media/thumbnail`, `animated`), as GIF, which every client shows. An
//! image that is not animated, or exceeds the limits here, gets a still thumbnail.

use std::fs;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use image::codecs::gif::{GifDecoder, GifEncoder, Repeat};
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder as _, DynamicImage, Frame, Frames, ImageDecoder, ImageFormat, ImageReader};
use plexus_base::private;

use super::{Format, ThumbnailError, ThumbnailSize, fit, limits, resize};

/// The most frames: 20 s at ten a second.
const MAX_FRAMES: u64 = 200;
/// The most pixels of all frames of the source together, which are decoded one after another: about a second's work.
const MAX_SOURCE_PIXELS: u64 = 128 * 1024 * 1024;
/// The most pixels of all frames of the thumbnail together; encoding one takes many times as long as decoding it. 200
/// frames of 320 by 240, or 34 of 800 by 600.
const MAX_TARGET_PIXELS: u64 = 16 * 1024 * 1024;
/// The largest animated thumbnail, in bytes: more than a preview is worth.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The quality of the colours, from 1 (best, slow) to 30.
const ENCODER_SPEED: i32 = 20;

/// The outcome of making an animated thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Made,
    /// There is none: the image is not animated, or exceeds the limits in this size.
    None,
    /// It took too long; at another time it may succeed.
    Expired,
}

/// Whether images of this content type may be animated.
pub fn may_be_animated(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "image/gif" | "image/png" | "image/apng" | "image/webp")
}

/// Makes the animated thumbnail of the image at `source` and moves it to `target`, as [`super::make`] does; `expired`
/// returns whether it has taken too long. Blocking.
pub fn make(
    source: &Path,
    target: &Path,
    spare: &str,
    size: ThumbnailSize,
    max_pixels: u64,
    expired: impl Fn() -> bool,
) -> Result<Outcome, ThumbnailError> {
    let io = |error| ThumbnailError::Io { path: target.to_owned(), error };
    let Some(Animation { width, height, frames }) = open(source, max_pixels)? else { return Ok(Outcome::None) };
    let (small_width, small_height) = fit(width, height, size);
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    let most = MAX_FRAMES
        .min(MAX_SOURCE_PIXELS / pixels(width, height).max(1))
        .min(MAX_TARGET_PIXELS / pixels(small_width, small_height).max(1));
    let incomplete = target.with_extension(spare);
    target.parent().map_or(Ok(()), private::create_folders).map_err(io)?;
    let file = private::options().write(true).create(true).truncate(true).open(&incomplete).map_err(io)?;
    let mut bounded = Bounded { inner: BufWriter::new(file), left: MAX_BYTES, failure: None };
    let written = write(frames, &mut bounded, size, most, expired);
    let outcome = match (bounded.failure, written) {
        // The encoder does not report that its last bytes, which it writes when it is dropped, could not be written.
        (Some(kind), _) => Err(io(kind.into())),
        (None, Ok(Outcome::Made)) => {
            let kept = bounded.inner.flush().and_then(|()| fs::rename(&incomplete, target));
            kept.map_err(io).map(|()| Outcome::Made)
        }
        (None, not_made) => not_made,
    };
    if !matches!(outcome, Ok(Outcome::Made)) {
        // Nothing refers to it by this name.
        let _ = fs::remove_file(&incomplete);
    }
    outcome
}

/// Writes the frames, unless there is only one, or more than `most`.
fn write(
    frames: Frames<'_>,
    to: &mut Bounded<impl Write>,
    size: ThumbnailSize,
    most: u64,
    expired: impl Fn() -> bool,
) -> Result<Outcome, ThumbnailError> {
    let mut encoder = GifEncoder::new_with_speed(to, ENCODER_SPEED);
    encoder.set_repeat(Repeat::Infinite)?;
    let mut count = 0;
    for frame in frames {
        let frame = frame?;
        count += 1;
        if count > most {
            return Ok(Outcome::None);
        }
        if expired() {
            return Ok(Outcome::Expired);
        }
        let delay = frame.delay();
        let small = resize(DynamicImage::ImageRgba8(frame.into_buffer()), size, Format::Gif)?;
        encoder.encode_frame(Frame::from_parts(small.into_rgba8(), 0, 0, delay))?;
    }
    Ok(if count > 1 { Outcome::Made } else { Outcome::None })
}

/// An image whose frames are decoded one by one.
struct Animation {
    width: u32,
    height: u32,
    frames: Frames<'static>,
}

/// Opens an image of a format that can be animated; `None` for a still image, or one with more pixels than are allowed.
/// A GIF may have a single frame.
fn open(source: &Path, max_pixels: u64) -> Result<Option<Animation>, ThumbnailError> {
    let io = |error| ThumbnailError::Io { path: source.to_owned(), error };
    let reader = BufReader::new(fs::File::open(source).map_err(io)?);
    let reader = ImageReader::new(reader).with_guessed_format().map_err(io)?;
    let format = reader.format();
    let reader = reader.into_inner();
    let allowed = |decoder: &dyn ImageDecoder| {
        let (width, height) = decoder.dimensions();
        (u64::from(width) * u64::from(height) <= max_pixels).then_some((width, height))
    };
    let ((width, height), frames) = match format {
        Some(ImageFormat::Gif) => {
            let mut decoder = GifDecoder::new(reader)?;
            decoder.set_limits(limits(max_pixels))?;
            let Some(size) = allowed(&decoder) else { return Ok(None) };
            (size, decoder.into_frames())
        }
        Some(ImageFormat::Png) => {
            let decoder = PngDecoder::with_limits(reader, limits(max_pixels))?;
            let Some(size) = allowed(&decoder).filter(|_| decoder.is_apng().unwrap_or(false)) else { return Ok(None) };
            (size, decoder.apng()?.into_frames())
        }
        Some(ImageFormat::WebP) => {
            let mut decoder = WebPDecoder::new(reader)?;
            decoder.set_limits(limits(max_pixels))?;
            let Some(size) = allowed(&decoder).filter(|_| decoder.has_animation()) else { return Ok(None) };
            (size, decoder.into_frames())
        }
        _ => return Ok(None),
    };
    Ok(Some(Animation { width, height, frames }))
}

/// A file with a bound on its size.
struct Bounded<W> {
    inner: W,
    /// Bytes.
    left: u64,
    /// Why the file could not be written.
    failure: Option<io::ErrorKind>,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes).inspect_err(|error| self.failure = Some(error.kind()))?;
        self.left = self.left.checked_sub(written as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
