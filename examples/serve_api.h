// What the page of `onemodel serve` asks, and the answers: JSON in, JSON, PNG or safetensors out.
//
//   POST /api/pictures     a picture's file -> its number, as input, the model's noise maps of it
//   POST /api/picture      {picture, maps, seed, factors} -> picture, difference, PSNR, SSIM
//   POST /api/between      {left, right, latent, noise} -> picture
//   POST /api/denoise      {picture, sigma, seed} -> noisy and made pictures with PSNR, SSIM
//   POST /api/sample       {seed, maps, truncation} -> picture
//   POST /api/sheet        as /api/picture -> PNG
//   POST /api/code         as /api/picture -> safetensors, as `encode` writes and `generate --latents` reads
//   GET  /api/model        what the model is
//
// Questions with `channel` and `number` are answered newest first: 204 says that newer ones came
// (train/newest_queue.h). The model runs in one thread, whichever it is that serves the queue.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "examples/http_server.h"
#include "train/newest_queue.h"
#include "train/playground.h"

namespace om {

class ServeApi {
 public:
  /// `name`: the model's, for people; `begun`: a number of this server's alone, by which a page sees that
  /// another one answers. What is passed must outlive it.
  ServeApi(Playground& playground, NewestQueue& queue, const std::string& name, std::uint64_t begun);

  /// Makes the server answer.
  void add_to(HttpServer& server);

  /// Pixels of a picture that is sent.
  static constexpr std::int64_t kMaxPixels = 64'000'000;
  /// Pictures that are read or wait for it; more are refused (503), so that they do not take all threads.
  static constexpr int kMaxUploads = 8;

 private:
  using Answerer = HttpAnswer (ServeApi::*)(const std::string& body);
  HttpAnswer upload(const std::string& body);
  HttpAnswer picture(const std::string& body);
  HttpAnswer between(const std::string& body);
  HttpAnswer denoise(const std::string& body);
  HttpAnswer sample(const std::string& body);
  HttpAnswer sheet(const std::string& body);
  HttpAnswer code(const std::string& body);

  Playground& playground_;
  NewestQueue& queue_;
  std::string model_;    // as JSON
  std::mutex decoding_;  // one picture's file at a time
  std::atomic<int> uploads_ = 0;
};

}  // namespace om
