// onemodel serve: a page on this machine to play with a model.
//
// The main thread runs the model, as the backend's threads are one team; the server's threads wait for it.
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "examples/common.h"
#include "examples/http_server.h"
#include "examples/models.h"
#include "examples/serve_api.h"
#include "examples/web_files.h"
#include "io/shown.h"

namespace om {
namespace {

struct ServeOptions {
  std::string model, generator;
  std::int64_t port = 8321;
};

constexpr std::int64_t kMaxPort = 65'535;
constexpr std::size_t kMostAsked =
    24;  // that wait for the model: the server's other threads answer meanwhile

/// The networks of --model, with the generator of --generator where that is given.
Model open_model(const ServeOptions& options, Backend& backend) {
  Model model = load_model(read_checkpoint(options.model), backend, saying_so());
  if (!options.generator.empty()) model.decoder = load_generator(options.generator, backend, saying_so());
  if (!model.decoder)
    fail<InputError>(options.model, ": holds no generator",
                     model.encoder ? "; --generator FILE names one" : "");
  return model;
}

/// Since 1970: where this server's pictures are numbered from, so that a page that was open before it began
/// asks for none of them by chance.
std::uint64_t microseconds_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

/// A device's first picture takes as long as its engines are searched and its programs compiled: before there
/// is anybody who waits for it.
void warm_up(const Playground& playground) {
  note("warming up with one picture");
  const auto begin = std::chrono::steady_clock::now();
  playground.warm_up();
  note(fmt::format("warm after {:.1f} s",
                   std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
}

void add_page(HttpServer& server) {
  const auto file = [&](const std::string& path, const char* type, std::string_view content) {
    server.get(path, [type, content] { return HttpAnswer{200, type, std::string(content)}; });
  };
  file("/", "text/html; charset=utf-8", web::serve_html);
  file("/look.css", "text/css; charset=utf-8", web::look_css);
  file("/serve.css", "text/css; charset=utf-8", web::serve_css);
  file("/ask.js", "text/javascript; charset=utf-8", web::ask_js);
  file("/serve.js", "text/javascript; charset=utf-8", web::serve_js);
}

int serve(const ServeOptions& options, const Common& common) {
  if (options.port < 0 || options.port > kMaxPort)
    fail<UsageError>("serve: --port must lie between 0 and ", kMaxPort, ", got ", options.port);
  HttpServer server(static_cast<int>(options.port));  // a port that is taken is told before the model is read
  const Session session(common);
  const std::uint64_t begun = microseconds_now();
  Playground playground = naming_file(options.model, [&] {
    return Playground(open_model(options, session.backend()), session.backend(), begun);
  });
  NewestQueue queue(kMostAsked);
  ServeApi api(playground, queue, shown(std::filesystem::path(options.model).filename().string()), begun);
  api.add_to(server);
  add_page(server);
  if (!session.backend().host_memory()) warm_up(playground);  // a signal ends it at once
  catch_interrupts();
  server.start();
  note(text("serving http://127.0.0.1:", server.port(), "/ to this machine alone; Ctrl-C ends it"));
  queue.serve([&] { return interrupted() || !server.answers(); });
  queue.close();
  server.stop();
  if (!interrupted()) fail("127.0.0.1:", server.port(), ": the system takes no more connections");
  note("ended");
  return kInterrupted;
}

Command serve_command() {
  auto o = std::make_shared<ServeOptions>();
  return {
      "serve",
      "Open a page on this machine to play with a model: noise maps, interpolation, noise removal, samples",
      {{"--model", "FILE", &o->model, "Checkpoint with a generator, and an encoder to look at pictures",
        kRequired},
       generator_option(&o->generator),
       {"--port", "N", &o->port, "Port on 127.0.0.1 (default 8321; 0: any that is free)"}},
      [o](const Common& common) { return serve(*o, common); },
      "figures 4 to 7 by hand"};
}

const Subcommand here(serve_command);

}  // namespace
}  // namespace om
