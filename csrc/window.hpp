// What a convolution sees: patches of an image as rows of a matrix, and back.
#pragma once

#include <algorithm>
#include <cstddef>

#include "parallel.hpp"
#include "tile.hpp"
#include "vector.hpp"

namespace hubfast {

struct Side {  // of an image, or of a volume of height 1
  int size, kernel, stride, padding, dilation;

  int padded() const { return size + 2 * padding; }
  int out() const { return (padded() - dilation * (kernel - 1) - 1) / stride + 1; }
};

struct Window {
  Side y, x;

  int area() const { return y.size * x.size; }
  int padded_area() const { return y.padded() * x.padded(); }
  int pixels() const { return y.out() * x.out(); }
  int taps() const { return y.kernel * x.kernel; }
  // Whether patches are the image itself.
  bool is_image() const {
    return taps() == 1 && y.stride * x.stride == 1 && y.padding + x.padding == 0;
  }
  // Of a tap's first pixel in a padded image.
  int corner(int tap) const {
    return tap / x.kernel * y.dilation * x.padded() + tap % x.kernel * x.dilation;
  }
};

// Floats that `unfold` may write or read past the end of its result and of the images.
constexpr int kSlack = kFloats;

// Images with zeros around them as a window sees them, themselves where it sees none.
class PaddedImages {
 public:
  PaddedImages(const Window& window, int count, const float* images, int threads) : w_(window) {
    if (w_.is_image() || (w_.y.padding + w_.x.padding == 0 && w_.x.stride > 1)) {
      from_ = images;
      return;
    }
    const std::size_t area = w_.area(), padded = w_.padded_area();
    copy_ = buffer(count * padded + kSlack);
    from_ = copy_.get();
    openmp_for(ceil_div(count, kTogether), threads, [&](int task) {
      for (int i = task * kTogether; i < std::min(count, (task + 1) * kTogether); ++i) {
        float* to = copy_.get() + i * padded + w_.y.padding * w_.x.padded() + w_.x.padding;
        for (int y = 0; y < w_.y.size; ++y, to += w_.x.padded()) {
          std::copy_n(images + i * area + y * w_.x.size, w_.x.size, to);
        }
      }
    });
  }

  const float* operator[](std::size_t image) const { return from_ + image * w_.padded_area(); }

 private:
  static constexpr int kTogether = 256;
  Window w_;
  Buffer copy_;
  const float* from_;
};

// to (count, pixels): rows `first` and on of the patches (channels * taps, pixels) of an image
// (channels, padded height, padded width).
HUBFAST_INLINE void unfold(const Window& w, const float* image, int first, int count, float* to) {
  const int across = w.x.padded(), width = w.x.out(), height = w.y.out(), step = w.x.stride;
  int channel = first / w.taps(), tap = first % w.taps();
  for (int row = 0; row < count; ++row) {
    const float* from = image + static_cast<std::size_t>(channel) * w.padded_area() + w.corner(tap);
    for (int y = 0; y < height; ++y, from += w.y.stride * across, to += width) {
      if (step == 1) {  // what is written too far, the next row overwrites
        for (int x = 0; x < width; x += kFloats) unaligned(to + x) = unaligned(from + x);
      } else {
        for (int x = 0; x < width; ++x) to[x] = from[x * step];
      }
    }
    if (++tap == w.taps()) {
      tap = 0;
      ++channel;
    }
  }
}

// Adds patches (channels * taps, pixels) to an image (channels, height, width), each where it came
// from. scratch: padded_area floats.
HUBFAST_INLINE void fold(const Window& w, const float* patches, int channels, float* scratch,
                         float* image) {
  const int across = w.x.padded(), width = w.x.out(), height = w.y.out(), step = w.x.stride;
  for (int channel = 0; channel < channels; ++channel) {
    std::fill_n(scratch, w.padded_area(), 0.f);
    for (int tap = 0; tap < w.taps(); ++tap) {
      float* to = scratch + w.corner(tap);
      for (int y = 0; y < height; ++y, to += w.y.stride * across, patches += width) {
        if (step == 1) {
          for (int x = 0; x < width; ++x) to[x] += patches[x];
        } else {
          for (int x = 0; x < width; ++x) to[x * step] += patches[x];
        }
      }
    }
    for (int y = 0; y < w.y.size; ++y, image += w.x.size) {
      const float* from = scratch + (y + w.y.padding) * across + w.x.padding;
      for (int x = 0; x < w.x.size; ++x) image[x] += from[x];
    }
  }
}

}  // namespace hubfast
