use image::{Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn size(width: u32, height: u32, method: Method) -> ThumbnailSize {
    ThumbnailSize { width, height, method }
}

fn request(width: u32, height: u32, method: Method) -> ThumbnailRequest {
    ThumbnailRequest { width, height, method }
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
