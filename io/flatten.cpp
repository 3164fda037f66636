#include "io/flatten.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "io/bytes.h"
#include "io/numpy_array.h"
#include "tensor/error.h"

namespace om {

namespace {

constexpr int max_depth = 64;
constexpr std::size_t max_name = 4096, max_setting = 200;

// Walks the values of a pickle. The memo can make a dict hold itself, or share one many times over, so depth,
// visits, the bytes of names and the bytes of tensors are all limited by what the file holds.
class Flattener {
 public:
  Flattener(std::shared_ptr<const PyTorchFile> file, Checkpoint& out)
      : file_(std::move(file)),
        out_(out),
        visits_left_(16 * file_->arena().node_count() + 4096),
        names_left_(16 * file_->source().size() + (1 << 20)),
        tensors_left_(file_->tensor_limit()) {}

  void run() {
    if (PyTorchFile::is_tensor(file_->root())) {
      take_tensor("tensor", file_->root());
    } else {
      visit("", file_->root(), 0);
    }
    if (skipped_ > max_skipped) out_.skipped.push_back(text("... and ", skipped_ - max_skipped, " more"));
  }

 private:
  [[noreturn]] void broken(const std::string& why) const { fail<InputError>(out_.path, ": ", why); }

  void spend(std::uint64_t& left, std::uint64_t amount, const char* what) const {
    if (amount > left) broken(text("repeats its ", what, " too often for its size"));
    left -= amount;
  }

  void skip(const std::string& name, std::string_view what) {
    if (++skipped_ <= max_skipped) out_.skipped.push_back(text(printable(name, 200), " (", what, ")"));
  }

  std::string join(const std::string& name, std::string_view key) {
    return name.empty() ? join_with("", '.', key).substr(1) : join_with(name, '.', key);
  }
  std::string join_with(const std::string& name, char separator, std::string_view key) {
    if (name.size() + 1 + key.size() > max_name) broken("has a name of more than 4096 characters");
    spend(names_left_, name.size() + 1 + key.size(), "names");
    return text(name, separator, key);
  }

  void take_tensor(const std::string& name, const PickleValue& value) {
    std::string why_not;
    auto tensor = file_->tensor(value, why_not);
    if (!tensor) return skip(name, why_not);
    if (!is_utf8_text(name)) return skip(name, "tensor whose name is not text");
    const auto bytes = static_cast<std::uint64_t>(element_count(tensor->shape)) * size_of(tensor->type);
    spend(tensors_left_, std::max(bytes, tensor->read_bytes), "tensors");
    StoredTensor stored{tensor->type, tensor->shape, nullptr, tensor->problem, name};
    stored.load = [file = file_, view = std::move(*tensor)] { return file->load(view); };
    keep(name, std::move(stored));
  }

  void take_array(const std::string& name, const PickleValue& value) {
    std::string why_not;
    auto array = numpy_array(value, why_not);
    if (!array) return skip(name, why_not);
    if (!is_utf8_text(name)) return skip(name, "array whose name is not text");
    spend(tensors_left_, static_cast<std::uint64_t>(element_count(array->shape)) * size_of(array->type),
          "arrays");
    StoredTensor stored{array->type, array->shape, nullptr, {}, name};
    stored.load = [file = file_, array = std::move(*array)] { return array.load(); };
    keep(name, std::move(stored));
  }

  // Two places of a file may flatten to one name ("a.b" beside "b" inside "a"): which is meant is not known.
  void keep(const std::string& name, StoredTensor stored) {
    const auto [place, added] = out_.tensors.emplace(name, std::move(stored));
    if (added) return;
    place->second.problem = "two tensors of the file have this name";
    skip(name, "second tensor of this name");
  }

  void visit(const std::string& name, const PickleValue& value, int depth) {
    spend(visits_left_, 1, "values");
    if (depth > max_depth) broken("is nested too deeply");
    switch (value.kind()) {
      case PickleKind::dict: return visit_dict(name, value, depth);
      case PickleKind::list:
      case PickleKind::tuple: return visit_list(name, value, depth);
      case PickleKind::call:
        if (PyTorchFile::is_tensor(value)) return take_tensor(name, value);
        return is_numpy(value) ? take_array(name, value) : visit_object(name, value, depth);
      default: skip(name, describe(value));
    }
  }

  void visit_dict(const std::string& name, const PickleValue& dict, int depth) {
    const auto pairs = dict.items();
    std::unordered_map<std::string_view, std::size_t> last;  // a key that is set again is set anew
    for (std::size_t i = 0; i < pairs.size(); i += 2)
      if (pairs[i]->is(PickleKind::string)) last[pairs[i]->text()] = i;
    for (std::size_t i = 0; i < pairs.size(); i += 2)
      if (!pairs[i]->is(PickleKind::string) || last[pairs[i]->text()] == i)
        visit_pair(name, *pairs[i], *pairs[i + 1], depth);
  }

  void visit_pair(const std::string& name, const PickleValue& key, const PickleValue& value, int depth) {
    if (key.is(PickleKind::string)) {
      visit(join(name, key.text()), value, depth + 1);
    } else if (key.is(PickleKind::integer)) {
      visit(join(name, std::to_string(key.integer())), value, depth + 1);
    } else {
      skip(name, text("entry whose key is a ", name_of(key.kind())));
    }
  }

  void visit_list(const std::string& name, const PickleValue& list, int depth) {
    const auto items = list.items();
    const auto is_plain = [](const PickleValue* item) {
      const PickleKind kind = item->kind();
      return kind < PickleKind::tuple || kind == PickleKind::global || kind == PickleKind::persistent;
    };
    if (std::all_of(items.begin(), items.end(), is_plain)) {
      return skip(name, text(name_of(list.kind()), " of ", items.size(), " plain values"));
    }
    // The tuple that NVIDIA's TensorFlow files hold: generator, discriminator, averaged generator.
    if (list.is(PickleKind::tuple) && items.size() == 3 &&
        std::all_of(items.begin(), items.end(), is_tf_network)) {
      for (std::size_t i = 0; i < 3; ++i)
        visit(join(name, std::array{"G", "D", "Gs"}[i]), *items[i], depth + 1);
      return;
    }
    for (std::size_t i = 0; i < items.size(); ++i) visit(join(name, std::to_string(i)), *items[i], depth + 1);
  }

  // dnnlib.tflib.network.Network: static arguments, a list of (name, array), and networks inside it.
  static bool is_tf_network(const PickleValue* value) {
    const PickleValue* state = value->state();
    return state != nullptr && state->get("static_kwargs") && state->get("variables");
  }

  void visit_tf_network(const std::string& name, const PickleValue& state, char separator, int depth) {
    spend(visits_left_, 1, "values");
    if (depth > max_depth) broken("is nested too deeply");
    const auto inside = [&](std::string_view key) {
      return name.empty() ? join("", key) : join_with(name, separator, key);
    };
    if (const PickleValue* function = state.get("build_func_name"))
      keep_setting(join(name, "build_func_name"), *function);
    const PickleValue& arguments = *state.get("static_kwargs");
    keep_settings(join(name, "static_kwargs"), arguments.dict() ? *arguments.dict() : arguments);
    for (const PickleValue* variable : state.get("variables")->items()) {
      spend(visits_left_, 1, "values");
      const auto pair = variable->items();
      if (pair.size() != 2 || !pair[0]->is(PickleKind::string))
        broken("has a variable that it does not describe");
      const std::string full = inside(pair[0]->text());
      is_numpy(*pair[1]) ? take_array(full, *pair[1]) : skip(full, describe(*pair[1]));
    }
    const PickleValue* components = state.get("components");
    if (components == nullptr) return;
    const PickleValue& dict = components->dict() ? *components->dict() : *components;
    const auto pairs = dict.is(PickleKind::dict) ? dict.items() : std::span<const PickleValue* const>{};
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
      if (pairs[i]->is(PickleKind::string) && is_tf_network(pairs[i + 1]))
        visit_tf_network(inside(pairs[i]->text()), *pairs[i + 1]->state(), '/', depth + 1);
    }
  }

  // A dict's plain values, as settings below `name`.
  void keep_settings(const std::string& name, const PickleValue& dict) {
    const auto pairs = dict.is(PickleKind::dict) ? dict.items() : std::span<const PickleValue* const>{};
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
      spend(visits_left_, 1, "values");
      const std::string_view key = pairs[i]->text();
      if (!key.empty() && key[0] != '_' && key.size() <= max_setting)
        keep_setting(join(name, key), *pairs[i + 1]);
    }
  }

  void keep_setting(const std::string& name, const PickleValue& value) {
    if (value.is(PickleKind::none) || value.is(PickleKind::boolean)) {
      out_.settings[name] = describe(value);
    } else if (value.is(PickleKind::string)) {
      out_.settings[name] = value.text().substr(0, max_setting);
    } else if (value.is(PickleKind::list) || value.is(PickleKind::tuple)) {
      std::string all;  // "[1, 3, 3, 1]"
      for (const PickleValue* item : value.items()) {
        const auto number = number_of(*item);
        if (!number || all.size() > max_setting) return;
        all += (all.empty() ? "" : ", ") + shortest(*number);
      }
      out_.settings[name] = "[" + all + "]";
    } else if (const auto number = number_of(value)) {
      std::string why_not;
      const auto scalar = numpy_array(value, why_not);
      const bool truth = scalar && scalar->type == FileType::boolean;
      out_.settings[name] = truth ? (*number != 0 ? "True" : "False") : shortest(*number);
    }
  }

  static std::string shortest(double value) {
    std::array<char, 32> digits;
    return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
  }

  // An OrderedDict (or another class made of a dict or list), or an instance whose state may be a module's.
  void visit_object(const std::string& name, const PickleValue& object, int depth) {
    if (object.is_call("collections", "OrderedDict") && object.args()->items().size() == 1) {
      const PickleValue& pairs = *object.args()->items()[0];  // as Python 2 wrote it: [[key, value], ...]
      for (const PickleValue* pair : pairs.items()) {
        if (pair->items().size() == 2) visit_pair(name, *pair->items()[0], *pair->items()[1], depth);
      }
    }
    const PickleValue* state = object.state();
    if (is_tf_network(&object)) return visit_tf_network(name, *state, '.', depth);
    // A persistent object of stylegan2-ada-pytorch: {class_name, module_src, state, ..}
    if (object.is_call("torch_utils.persistence", "_reconstruct_persistent_obj") &&
        object.args()->items().size() == 1) {
      const PickleValue& meta = *object.args()->items()[0];
      state = meta.get("state");
      if (const PickleValue* class_name = meta.get("class_name"))
        keep_setting(join(name, "class_name"), *class_name);
      if (state) keep_settings(name, *state);
    }
    const bool is_module =
        state && state->get("_parameters") && state->get("_buffers") && state->get("_modules");
    if (is_module) {
      for (const char* part : {"_parameters", "_buffers", "_modules"})
        visit_module_part(name, *state->get(part), depth);
    }
    if (object.dict()) visit_dict(name, *object.dict(), depth);
    if (object.list()) visit_list(name, *object.list(), depth);
    const bool is_dict = object.is_call("collections", "OrderedDict");
    if (!is_module && !is_dict && !object.dict() && !object.list()) skip(name, describe(object));
  }

  void visit_module_part(const std::string& name, const PickleValue& part, int depth) {
    const PickleValue& dict = part.dict() ? *part.dict() : part;
    const auto pairs = dict.is(PickleKind::dict) ? dict.items() : std::span<const PickleValue* const>{};
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
      if (!pairs[i + 1]->is(PickleKind::none)) visit_pair(name, *pairs[i], *pairs[i + 1], depth);
    }
  }

  static std::string describe(const PickleValue& value) {
    const std::string_view kind = name_of(value.kind());
    switch (value.kind()) {
      case PickleKind::none: return "None";
      case PickleKind::boolean: return value.integer() ? "True" : "False";
      case PickleKind::integer: return text(kind, " ", value.integer());
      case PickleKind::real: return text(kind, " ", value.real());
      case PickleKind::string: return text(kind, " \"", printable(value.text(), 60), "\"");
      case PickleKind::bytes: return text(value.text().size(), " bytes");
      case PickleKind::global:
        return text(kind, " ", printable(value.module()), ".", printable(value.name()));
      case PickleKind::call: {
        const PickleValue& of = *value.callable();
        if (!of.is(PickleKind::global)) return std::string(kind);
        return text(kind, " ", printable(of.module()), ".", printable(of.name()));
      }
      default: return std::string(kind);
    }
  }

  std::shared_ptr<const PyTorchFile> file_;
  Checkpoint& out_;
  std::uint64_t visits_left_, names_left_, tensors_left_;
  std::uint64_t skipped_ = 0;
};

}  // namespace

void flatten(std::shared_ptr<const PyTorchFile> file, Checkpoint& out) {
  out.format = file->format();
  Flattener(std::move(file), out).run();
}

}  // namespace om
