// compare [--threads N] [--vector BYTES]: our side of the comparison with PyTorch. compare.py drives it by
// lines on stdin and reads one line of answer each; compare_torch.py speaks the same language.
//
//   load KIND NUMBERS..   makes a row's inputs; what it frees first is the row before
//   check PATH            runs once and writes each result, float32, images [N, H, W, C], to PATH.0, PATH.1,
//   .. time SECONDS          runs until SECONDS have passed, at least once: wall and processor seconds per
//   run peak                  the high-water mark of resident memory since the last load, in bytes
//
// Rows and their numbers (inputs are the same on both sides, see hashed):
//   conv N H W I O K STRIDE PAD forward|input|weight      K x K convolution [N, H, W, I] -> O, or a gradient
//   up N S I O forward|input|weight      transposed 3x3 convolution of stride 2, [N, S, S, I] -> 2 S + 1
//   matmul M N K nn|nt                                    second operand [K, N] or [N, K]
//   blur N S C, upsample N S C                            the generator's 4x4 filter
//   batch_norm N S C                                      train mode, forward and backward
//   autoencoder N MODEL, train N MODEL BACKBONE HEADS     whole model, and a step of the recipe with LPIPS
//   eigen_matmul M N K, eigen_conv S I O                  Eigen's GEMM (eigen_peer.h)
#include <sys/resource.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/model_file.h"
#include "nn/resample.h"
#include "tensor/cpu/kernels.h"
#include "tensor/registry.h"
#include "train/training_step.h"
#ifdef ONEMODEL_EIGEN_PEER
#include "benchmarks/eigen_peer.h"
#endif

namespace om::compare {
namespace {

Backend& cpu() { return backend("cpu"); }

/// Element i is the murmur3 finaliser of i + seed 0x9E3779B9, its top 24 bits scaled to [-1, 1).
Tensor hashed(const Shape& shape, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t h = static_cast<std::uint32_t>(i) + seed * 0x9E3779B9U;
    h = (h ^ (h >> 16)) * 0x85ebca6bU;
    h = (h ^ (h >> 13)) * 0xc2b2ae35U;
    h ^= h >> 16;
    values[i] = static_cast<float>(h >> 8) / 8388608.0F - 1.0F;
  }
  return Tensor::from_host(values, shape, cpu());
}

using Results = std::vector<Tensor>;
using Row = std::function<Results()>;

/// The rest of a `load` line.
class Words {
 public:
  explicit Words(std::istringstream& line) : line_(line) {}
  std::int64_t number() {
    std::int64_t value = 0;
    if (!(line_ >> value)) fail<UsageError>("compare: a number is missing");
    return value;
  }
  std::string word() {
    std::string value;
    if (!(line_ >> value)) fail<UsageError>("compare: a word is missing");
    return value;
  }

 private:
  std::istringstream& line_;
};

Row without_grad(std::function<Tensor()> function) {
  return [function = std::move(function)]() -> Results {
    const NoGrad off;
    return {function()};
  };
}

/// A convolution or one of its gradients, as the autograd floor calls them.
Row convolution(const Shape& x_shape, const Shape& w_shape, const Conv2d& o, const std::string& pass) {
  const auto side = [&](std::int64_t size, std::int64_t kernel) {
    return (size + 2 * o.pad_h - kernel) / o.stride_h + 1;
  };
  const Shape y_shape{x_shape[0], side(x_shape[1], w_shape[1]), side(x_shape[2], w_shape[2]), w_shape[0]};
  const Tensor x = pass == "input" ? Tensor() : hashed(x_shape, 1);
  const Tensor w = pass == "weight" ? Tensor() : hashed(w_shape, 2);
  const Tensor g = pass == "forward" ? Tensor() : hashed(y_shape, 3);
  if (pass == "forward") return without_grad([=] { return conv2d(x, w, o); });
  if (pass == "input")
    return without_grad([=] { return conv2d_input_grad(g, w, x_shape[1], x_shape[2], o); });
  if (pass == "weight")
    return without_grad([=] { return conv2d_weight_grad(x, g, w_shape[1], w_shape[2], o); });
  fail<UsageError>("compare: no pass ", pass);
}

Row load_conv(Words& words) {
  std::int64_t n[8];
  for (std::int64_t& value : n) value = words.number();
  return convolution({n[0], n[1], n[2], n[3]}, {n[4], n[5], n[5], n[3]}, Conv2d::same(n[6], n[7]),
                     words.word());
}

/// The transposed convolution's passes are those of a convolution backwards: its input is that one's result.
Row load_up(Words& words) {
  const std::int64_t n = words.number(), s = words.number(), in = words.number(), out = words.number();
  const std::string pass = words.word();
  const std::int64_t large = 2 * s + 1;
  const Conv2d o = Conv2d::same(2, 0);
  const Tensor x = pass == "input" ? Tensor() : hashed({n, s, s, in}, 1);
  const Tensor w = pass == "weight" ? Tensor() : hashed({in, 3, 3, out}, 2);
  const Tensor g = pass == "forward" ? Tensor() : hashed({n, large, large, out}, 3);
  if (pass == "forward") return without_grad([=] { return conv2d_input_grad(x, w, large, large, o); });
  if (pass == "input") return without_grad([=] { return conv2d(g, w, o); });
  if (pass == "weight") return without_grad([=] { return conv2d_weight_grad(g, x, 3, 3, o); });
  fail<UsageError>("compare: no pass ", pass);
}

Row load_matmul(Words& words) {
  const std::int64_t m = words.number(), n = words.number(), k = words.number();
  const bool transposed = words.word() == "nt";
  const Tensor a = hashed({m, k}, 1), b = hashed(transposed ? Shape{n, k} : Shape{k, n}, 2);
  return without_grad([=] { return matmul(a, b, false, transposed); });
}

Row load_filter(Words& words, bool up) {
  const std::int64_t n = words.number(), s = words.number(), c = words.number();
  const Tensor x = hashed({n, s, s, c}, 1);
  const Tensor filter = fir_filter({1, 3, 3, 1}, 4, DType::f32, cpu());
  return without_grad([=] { return up ? upsample2(x, filter) : blur(x, filter, 1, 1); });
}

Row load_batch_norm(Words& words) {
  const std::int64_t n = words.number(), s = words.number(), c = words.number();
  const Tensor x = require_grad(hashed({n, s, s, c}, 1)), weight = require_grad(hashed({c}, 2));
  const Tensor bias = require_grad(hashed({c}, 3)), g = hashed({n, s, s, c}, 4);
  return [=]() -> Results {
    return grad({batch_norm(x, weight, bias, {}).y}, {x, weight, bias}, {.output_gradients = {g}});
  };
}

Row load_whole(Words& words) {
  const std::int64_t n = words.number();
  const std::shared_ptr<Autoencoder> model = load_autoencoder(words.word(), cpu());
  const std::int64_t size = model->decoder().size();
  const Tensor image = hashed({n, size, size, 3}, 1);
  return without_grad([=] { return (*model)(image); });
}

Row load_train(Words& words) {
  const std::int64_t n = words.number();
  const std::shared_ptr<Autoencoder> model = load_autoencoder(words.word(), cpu());
  const std::string backbone = words.word();
  const std::shared_ptr<Lpips> lpips = load_lpips(backbone, words.word(), cpu());
  const std::int64_t size = model->decoder().size();
  const Tensor image = hashed({n, size, size, 3}, 1);
  const auto adam = std::make_shared<Adam>(
      encoder_groups(model->encoder(), {.main = 1e-4, .noise_heads = 1e-4}),
      AdamOptions{.beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-4, .clip_norm = 1});
  prepare_training(*model, *adam);
  return [=]() -> Results {
    const StepResult step = training_step(*model, lpips.get(), *adam, image);
    Results results = {step.loss, step.mse, step.lpips};
    results.insert(results.end(), step.norms.begin(), step.norms.end());
    results.push_back(step.reconstruction);
    return results;
  };
}

#ifdef ONEMODEL_EIGEN_PEER
Row load_eigen(Words& words, bool convolves) {
  if (convolves) {
    const std::int64_t s = words.number(), in = words.number(), out = words.number();
    const Tensor x = hashed({1, s, s, in}, 1), w = hashed({out, 3, 3, in}, 2);
    return without_grad([=] {
      const Tensor y = x.empty_like({1, s, s, out});
      peer::eigen_conv3x3(x.in().as<float>(), w.in().as<float>(), y.out().as<float>(), s, s, in, out);
      return y;
    });
  }
  const std::int64_t m = words.number(), n = words.number(), k = words.number();
  const Tensor a = hashed({m, k}, 1), b = hashed({k, n}, 2);
  return without_grad([=] {
    const Tensor y = a.empty_like({m, n});
    peer::eigen_matmul(a.in().as<float>(), b.in().as<float>(), y.out().as<float>(), m, n, k);
    return y;
  });
}
#endif

Row load(Words words) {
  const std::string kind = words.word();
  if (kind == "conv") return load_conv(words);
  if (kind == "up") return load_up(words);
  if (kind == "matmul") return load_matmul(words);
  if (kind == "blur" || kind == "upsample") return load_filter(words, kind == "upsample");
  if (kind == "batch_norm") return load_batch_norm(words);
  if (kind == "autoencoder") return load_whole(words);
  if (kind == "train") return load_train(words);
#ifdef ONEMODEL_EIGEN_PEER
  if (kind == "eigen_matmul" || kind == "eigen_conv") return load_eigen(words, kind == "eigen_conv");
#endif
  fail<UsageError>("compare: no row ", kind);
}

double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
}

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

std::string measure(const Row& row, double least) {
  using Clock = std::chrono::steady_clock;
  const double processor = processor_seconds();
  const Clock::time_point start = Clock::now();
  double passed = 0;
  int runs = 0;
  for (; runs == 0 || passed < least; ++runs) {
    row();
    passed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return text(passed / runs, " ", (processor_seconds() - processor) / runs);
}

void write_results(const Row& row, const std::string& path) {
  int i = 0;
  for (const Tensor& result : row()) {
    const std::vector<float> values = result.to_host<float>();
    std::ofstream file(text(path, ".", i++), std::ios::binary);
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(float)));
    if (!file) fail("compare: cannot write ", path);
  }
}

/// Linux: VmHWM, which writing 5 to clear_refs brings down to what is resident now.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

std::int64_t peak() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return 1024 * std::stoll(line.substr(6));
  return 0;
}

void serve() {
  Row row;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream rest(line);
    Words words(rest);
    const std::string command = words.word();
    std::string answer = "ok";
    if (command == "load") {
      row = nullptr;
      cpu().memory().release_cached();
      row = load(words);
    } else if (command == "check") {
      write_results(row, words.word());
      reset_peak();
    } else if (command == "time") {
      answer = measure(row, std::stod(words.word()));
    } else if (command == "peak") {
      answer = text(peak());
    } else {
      fail<UsageError>("compare: no command ", command);
    }
    std::cout << answer << std::endl;
  }
}

}  // namespace
}  // namespace om::compare

int main(int argc, char** argv) {
  try {
    for (int i = 1; i + 1 < argc; i += 2) {
      const std::string option = argv[i];
      if (option == "--threads")
        om::set_threads(std::stoi(argv[i + 1]));
      else if (option == "--vector")
        om::cpu::limit_vector_bytes(std::stoi(argv[i + 1]));
      else
        om::fail<om::UsageError>("compare: no option ", option);
    }
    om::compare::serve();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
  }
}
