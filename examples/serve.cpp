// onemodel serve: a page on this machine to play with a model.
//
// The main thread runs the model, as the backend's threads are one team; the server's threads wait for it.
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
  Playground playground = naming_file(
      options.model, [&] { return Playground(open_model(options, session.backend()), session.backend()); });
  catch_interrupts();
  NewestQueue queue(kMostAsked);
  ServeApi api(playground, queue, shown(std::filesystem::path(options.model).filename().string()));
  api.add_to(server);
  add_page(server);
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
