// max_pool2d and upfirdn2d.
#include "tensor/opencl/opencl_backend.h"

namespace om::opencl {
namespace {

/// Pool and Filter of kernels/images.cl.
struct Pool {
  std::int64_t n, h, w, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
};
struct Filter {
  std::int64_t n, h, w, c, oh, ow, kernel_h, kernel_w, up_h, up_w, down_h, down_w, top, left, flip;
};

}  // namespace

void OpenClBackend::max_pool2d(In x, Out y, Out index, const Pool2dParams& p) {
  const Shape &from = x.shape, &to = y.shape;
  const std::int64_t count = to.elements();
  const Pool pool{from[0],    from[1],    from[2],    from[3],    to[1],   to[2],
                  p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w};
  device_.run({"images", type_name(x.dtype), "max_pool2d"}, device_.line(count), x.data, y.data, index.data,
              pool, count);
}

void OpenClBackend::upfirdn2d(In x, In filter, Out y, const UpFirDnParams& p) {
  const Shape &from = x.shape, &to = y.shape;
  const std::int64_t count = to.elements();
  const Filter taps{from[0],  from[1],         from[2],         from[3],    to[1],
                    to[2],    filter.shape[0], filter.shape[1], p.up_h,     p.up_w,
                    p.down_h, p.down_w,        p.pad_top,       p.pad_left, p.flip ? 1 : 0};
  const char* kernel = filter.dtype == DType::f64 ? "upfirdn2d_f64" : "upfirdn2d";
  device_.run({"images", type_name(x.dtype), kernel}, device_.line(count), x.data, filter.data, y.data, taps,
              count);
}

}  // namespace om::opencl
