// Matrix products and convolutions. The three convolution kernels are one triple relation: with h = p
// stride_h + r - pad_h and v = q stride_w + s - pad_w, every (n, p, q, o, r, s, i) whose (h, v) lies in the
// image adds x[n,h,v,i] w[o,r,s,i] to y[n,p,q,o]; the gradients send g[n,p,q,o] w[o,r,s,i] to x[n,h,v,i] and
// x[n,h,v,i] g[n,p,q,o] to w[o,r,s,i].
#include <vector>

#include "tensor/reference/reference_backend.h"

namespace om {
namespace {

using namespace reference;

/// A double for every element of y, rounded into y at the end.
class Sums {
 public:
  explicit Sums(const Out& y) : y_(y), sums_(static_cast<std::size_t>(y.shape.elements()), 0.0) {}
  double& operator[](std::int64_t i) { return sums_[static_cast<std::size_t>(i)]; }
  void store() const {
    dispatch_floating("sums", y_.dtype, [&]<class T>(Type<T>) {
      for (std::size_t i = 0; i < sums_.size(); ++i) y_.as<T>()[i] = convert<T>(sums_[i]);
    });
  }

 private:
  Out y_;
  std::vector<double> sums_;
};

/// Calls body(image, weight, result) for every term of a convolution, with flat indices of x [N, H, W, I],
/// w [O, kH, kW, I] and y [N, OH, OW, O].
template <class Body>
void for_each_term(const Shape& x, const Shape& w, const Shape& y, const Conv2dParams& params, Body&& body) {
  for (std::int64_t n = 0; n < y[0]; ++n)
    for (std::int64_t p = 0; p < y[1]; ++p)
      for (std::int64_t q = 0; q < y[2]; ++q)
        for (std::int64_t o = 0; o < y[3]; ++o)
          for (std::int64_t r = 0; r < w[1]; ++r)
            for (std::int64_t s = 0; s < w[2]; ++s) {
              const std::int64_t h = p * params.stride_h + r - params.pad_h;
              const std::int64_t v = q * params.stride_w + s - params.pad_w;
              if (h < 0 || h >= x[1] || v < 0 || v >= x[2]) continue;
              const std::int64_t image = ((n * x[1] + h) * x[2] + v) * x[3];
              const std::int64_t weight = ((o * w[1] + r) * w[2] + s) * w[3];
              const std::int64_t result = ((n * y[1] + p) * y[2] + q) * y[3] + o;
              for (std::int64_t i = 0; i < x[3]; ++i) body(image + i, weight + i, result);
            }
}

}  // namespace

void ReferenceBackend::matmul(In a, In b, Out y, const MatmulParams& params) {
  const std::int64_t batch = y.shape[0], rows = y.shape[1], columns = y.shape[2];
  const std::int64_t inner = a.shape[params.transpose_a ? 1 : 2];
  Sums sums(y);
  dispatch_floating("matmul", a.dtype, [&]<class T>(Type<T>) {
    for (std::int64_t n = 0; n < batch; ++n) {
      const T* a_matrix = a.as<T>() + (a.shape[0] == 1 ? 0 : n) * rows * inner;
      const T* b_matrix = b.as<T>() + (b.shape[0] == 1 ? 0 : n) * inner * columns;
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) {
          double& sum = sums[(n * rows + i) * columns + j];
          for (std::int64_t k = 0; k < inner; ++k)
            sum += static_cast<double>(a_matrix[params.transpose_a ? k * rows + i : i * inner + k]) *
                   static_cast<double>(b_matrix[params.transpose_b ? j * inner + k : k * columns + j]);
        }
    }
  });
  sums.store();
}

void ReferenceBackend::conv2d(In x, In w, Out y, const Conv2dParams& params) {
  dispatch_floating("conv2d", x.dtype, [&]<class T>(Type<T>) {
    Sums sums(y);
    for_each_term(x.shape, w.shape, y.shape, params,
                  [&, image_data = x.as<T>(), weight_data = w.as<T>()](auto image, auto weight, auto result) {
                    sums[result] +=
                        static_cast<double>(image_data[image]) * static_cast<double>(weight_data[weight]);
                  });
    sums.store();
  });
}

void ReferenceBackend::conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) {
  dispatch_floating("conv2d_input_grad", g.dtype, [&]<class T>(Type<T>) {
    Sums sums(x);
    for_each_term(x.shape, w.shape, g.shape, params,
                  [&, g_data = g.as<T>(), weight_data = w.as<T>()](auto image, auto weight, auto result) {
                    sums[image] +=
                        static_cast<double>(g_data[result]) * static_cast<double>(weight_data[weight]);
                  });
    sums.store();
  });
}

void ReferenceBackend::conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) {
  dispatch_floating("conv2d_weight_grad", x.dtype, [&]<class T>(Type<T>) {
    Sums sums(w);
    for_each_term(x.shape, w.shape, g.shape, params,
                  [&, image_data = x.as<T>(), g_data = g.as<T>()](auto image, auto weight, auto result) {
                    sums[weight] +=
                        static_cast<double>(image_data[image]) * static_cast<double>(g_data[result]);
                  });
    sums.store();
  });
}

}  // namespace om
