// Antialiased bilinear resizing on 8 bits, equal bit for bit to Pillow's Image.resize((w, h), Image.BILINEAR)
// on RGB.
#pragma once

#include "io/image.h"

namespace om {

/// Which axis is filtered first; each pass rounds to 8 bits, so the order shows in the last bit of some
/// pixels.
enum class PassOrder {
  pillow13,    ///< columns first where the height shrinks by more than twice what the width does, else rows
               ///< first
  rows_first,  ///< always: Pillow before 13 (12 excepts images over 100 times higher than wide)
};

/// The image at height x width pixels, whatever its aspect ratio was. Error where either size or the image is
/// empty.
Image resize_bilinear(const Image& image, int height, int width, PassOrder order = PassOrder::pillow13);

}  // namespace om
