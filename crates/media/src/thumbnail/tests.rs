use image::{AnimationDecoder as _, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn size(width: u32, height: u32, method: Method) -> ThumbnailSize {
    ThumbnailSize { width, height, method }
}

fn request(width: u32, height: u32, method: Method) -> ThumbnailRequest {
    ThumbnailRequest { width, height, method, animated: false }
}

#[test]
fn the_smallest_size_that_covers_the_request_is_chosen() {
    use Method::{Crop, Scale};
    let sizes =
        [size(32, 32, Crop), size(96, 96, Crop), size(320, 240, Scale), size(640, 480, Scale), size(800, 600, Scale)];
    for (asked, expected) in [
        (request(20, 20, Crop), sizes[0]),
        (request(33, 20, Crop), sizes[1]),
        (request(500, 500, Crop), sizes[1]),
        (request(32, 32, Scale), sizes[2]),
        (request(320, 241, Scale), sizes[3]),
        (request(4000, 4000, Scale), sizes[4]),
    ] {
        assert_eq!(choose(&sizes, asked), expected, "{asked:?}");
    }
    assert_eq!(choose(&[], request(7, 9000, Crop)), size(7, 2048, Crop));
    assert_eq!(choose(&sizes[..2], request(50, 50, Scale)), sizes[1]);
}

fn made(source: &DynamicImage, extension: &str, wanted: ThumbnailSize, format: Format) -> DynamicImage {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join(format!("source.{extension}")), folder.path().join("a/b/thumbnail"));
    source.save(&from).expect("the source is written");
    make(&from, &to, "spare", wanted, format, 1_000_000).expect("a thumbnail");
    let names: Vec<_> = fs::read_dir(to.parent().expect("a parent")).expect("a folder").collect();
    assert_eq!(names.len(), 1, "nothing is left beside the thumbnail: {names:?}");
    ImageReader::open(&to).expect("a file").with_guessed_format().expect("a format").decode().expect("an image")
}

#[test]
fn scale_keeps_the_aspect_ratio_and_crop_fills_the_size() {
    let wide = DynamicImage::ImageRgb8(RgbImage::from_pixel(400, 100, Rgb([200, 10, 10])));
    for extension in ["png", "jpg", "gif", "webp"] {
        let scaled = made(&wide, extension, size(100, 100, Method::Scale), Format::Png);
        assert_eq!((scaled.width(), scaled.height()), (100, 25), "{extension}");
        let cropped = made(&wide, extension, size(50, 50, Method::Crop), Format::Jpeg);
        assert_eq!((cropped.width(), cropped.height()), (50, 50), "{extension}");
        let Rgb([red, green, _]) = *cropped.to_rgb8().get_pixel(25, 25);
        assert!(red > 150 && green < 60, "{extension}: still red, not {red} {green}");
    }
    let small = made(&wide, "png", size(800, 600, Method::Scale), Format::Png);
    assert_eq!((small.width(), small.height()), (400, 100), "nothing is made larger");
}

#[test]
fn transparency_survives_in_png() {
    let clear = DynamicImage::ImageRgba8(RgbaImage::from_pixel(64, 64, Rgba([0, 0, 255, 0])));
    let thumbnail = made(&clear, "png", size(32, 32, Method::Crop), Format::Png);
    assert_eq!(thumbnail.to_rgba8().get_pixel(16, 16).0[3], 0);
}

#[test]
fn too_many_pixels_and_broken_images_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("source.png"), folder.path().join("thumbnail"));
    RgbImage::new(100, 100).save(&from).expect("the source is written");
    let refused = make(&from, &to, "spare", size(32, 32, Method::Crop), Format::Png, 9_999);
    assert!(matches!(refused, Err(ThumbnailError::TooManyPixels { pixels: 10_000, limit: 9_999 })), "{refused:?}");

    let whole = fs::read(&from).expect("the source");
    for broken in [&whole[..whole.len() / 2], b"no image at all", b""] {
        fs::write(&from, broken).expect("written");
        let refused = make(&from, &to, "spare", size(32, 32, Method::Crop), Format::Png, 1_000_000);
        assert!(matches!(refused, Err(ThumbnailError::Unreadable(_))), "{refused:?}");
    }
    assert!(!to.exists());
}

/// Returns the frames of the animated thumbnail of an image, with the time each is shown, in ms.
fn animated(source: &[u8], wanted: ThumbnailSize, expired: bool) -> Option<Vec<(RgbaImage, u32)>> {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("source"), folder.path().join("a/b/thumbnail"));
    fs::write(&from, source).expect("the source is written");
    let outcome = animation::make(&from, &to, "spare", wanted, 1_000_000, || expired);
    assert_eq!(matches!(outcome, Ok(animation::Outcome::Expired)), expired);
    let made = matches!(outcome, Ok(animation::Outcome::Made));
    let left: Vec<_> = fs::read_dir(folder.path().join("a/b")).into_iter().flatten().collect();
    assert_eq!(left.len(), usize::from(made), "nothing is left beside the thumbnail: {left:?}");
    made.then(|| {
        let file = BufReader::new(fs::File::open(&to).expect("a file"));
        let frames = image::codecs::gif::GifDecoder::new(file).expect("a GIF").into_frames();
        let frames = frames.map(|frame| frame.expect("a frame"));
        frames.map(|frame| (frame.buffer().clone(), frame.delay().numer_denom_ms().0)).collect()
    })
}

/// A GIF of so many frames.
fn gif(frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for number in 0..frames {
        let grey = u8::try_from(number % 200).expect("a small number");
        let image = RgbaImage::from_pixel(40, 20, Rgba([grey, grey, grey, 255]));
        encoder.encode_frame(image::Frame::new(image)).expect("encoded");
    }
    drop(encoder);
    bytes
}

#[test]
fn animated_images_stay_animated() {
    for source in [
        &include_bytes!("images/animated.gif")[..],
        include_bytes!("images/animated.png"),
        include_bytes!("images/animated.webp"),
    ] {
        let frames = animated(source, size(20, 20, Method::Scale), false).expect("an animated thumbnail");
        let colours: Vec<_> = frames.iter().map(|(frame, _)| frame.get_pixel(10, 5).0).collect();
        let near =
            |colour: &[u8; 4], wanted: [u8; 4]| colour.iter().zip(wanted).all(|(it, wanted)| it.abs_diff(wanted) < 40);
        assert_eq!(
            frames.iter().map(|(frame, delay)| (frame.dimensions(), *delay)).collect::<Vec<_>>(),
            [((20, 10), 100); 3]
        );
        for (colour, wanted) in colours.iter().zip([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]]) {
            assert!(near(colour, wanted), "{colours:?}");
        }
    }
}

#[test]
fn still_and_oversized_images_are_not_animated() {
    let small = size(20, 20, Method::Scale);
    assert!(animated(&gif(200), small, false).is_some_and(|frames| frames.len() == 200));
    assert!(animated(&gif(201), small, false).is_none(), "too many frames");
    assert!(animated(&gif(1), small, false).is_none(), "one frame");
    assert!(animated(&gif(2), small, true).is_none(), "too much time");
    let mut still = io::Cursor::new(Vec::new());
    RgbImage::new(40, 20).write_to(&mut still, image::ImageFormat::Png).expect("encoded");
    let whole = gif(3);
    for source in [still.get_ref(), &whole[..whole.len() / 2], b"no image", b""] {
        assert!(animated(source, small, false).is_none());
    }
}

/// Endless zeros after a start. Counts what is read.
struct Endless<'r> {
    start: &'r [u8],
    read: &'r mut u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let length = if self.start.is_empty() {
            output.fill(0);
            output.len()
        } else {
            self.start.read(output)?
        };
        *self.read += length as u64;
        Ok(length)
    }
}

#[test]
fn only_the_start_of_an_image_is_read_for_its_dimensions() {
    for format in [image::ImageFormat::Jpeg, image::ImageFormat::Png, image::ImageFormat::Gif] {
        let mut encoded = io::Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(RgbImage::new(40, 30)).write_to(&mut encoded, format).unwrap();
        let mut read = 0;
        let found = dimensions(Endless { start: encoded.get_ref(), read: &mut read });
        assert_eq!(found, Some((40, 30)), "{format:?}");
        assert!(read <= MAX_HEADER_BYTES, "{format:?}: {read}");
    }
}
