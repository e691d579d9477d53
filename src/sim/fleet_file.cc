#include "sim/fleet_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "sim/faults.h"
#include "sim/fleet_fields.h"
#include "sim/go_json.h"
#include "sim/model_name.h"

namespace sollol::sim {
namespace {

/// Ends the reading; caught in read_fleet.
struct Refused {
  std::string text;
};

constexpr std::pair<std::string_view, double> byte_units[] = {{"", 1},
                                                              {"B", 1},
                                                              {"kB", 1e3},
                                                              {"KB", 1e3},
                                                              {"MB", 1e6},
                                                              {"GB", 1e9},
                                                              {"TB", 1e12},
                                                              {"KiB", 1024.0},
                                                              {"MiB", 1048576.0},
                                                              {"GiB", 1073741824.0},
                                                              {"TiB", 1099511627776.0}};

class Reader {
 public:
  Reader(std::string_view file, std::map<std::string, ModelSpec>& shared)
      : file_(file), shared_(shared) {}

  template <class Spec>
  void read(const toml::table& table, Spec& spec, std::string_view what) {
    std::set<std::string_view> known;
    visit_fields(spec, [&](std::string_view key, auto&& member) {
      known.insert(key);
      if (const auto* node = table.get(key)) read_value(*node, key, member);
    });
    for (const auto& [key, node] : table) {
      if (known.contains(key.str()) || (std::is_same_v<Spec, FleetConfig> && key.str() == "model"))
        continue;
      std::string all;
      for (const auto name : known) all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
      refuse(key.source(), fmt::format("a {} has no field '{}'; it has: {}", what, key.str(), all));
    }
  }

  [[noreturn]] void refuse(const toml::source_region& where, std::string_view text) const {
    throw Refused{fmt::format("{}:{}: {}", file_, where.begin.line, text)};
  }

 private:
  [[noreturn]] void refuse(const toml::node& node, std::string_view key,
                           std::string_view wanted) const {
    refuse(node.source(), fmt::format("'{}' must be {}", key, wanted));
  }

  void read_value(const toml::node& node, std::string_view key, std::string& out) {
    if (!node.is_string()) refuse(node, key, "a text in quotes");
    out = node.as_string()->get();
  }

  void read_value(const toml::node& node, std::string_view key, double& out) {
    const auto value = node.value<double>();
    if (!value || !std::isfinite(*value) || *value < 0)
      refuse(node, key, "a number that is not negative");
    out = *value;
    if (out == 0 && (key.ends_with("_rate") || key == "time_scale" || key == "factor"))
      refuse(node, key, "greater than 0");
  }

  template <class Integer>
    requires std::is_integral_v<Integer>
  void read_value(const toml::node& node, std::string_view key, Integer& out) {
    const auto value = node.is_integer() ? std::optional(node.as_integer()->get()) : std::nullopt;
    if (!value || !std::in_range<Integer>(*value))
      refuse(node, key, std::is_signed_v<Integer> ? "a whole number" : "a whole number, 0 or more");
    out = static_cast<Integer>(*value);
  }

  template <class Integer>
  void read_value(const toml::node& node, std::string_view key, std::optional<Integer>& out) {
    read_value(node, key, out.emplace());
  }

  std::uint64_t bytes(const toml::node& node, std::string_view key) {
    if (const auto* integer = node.as_integer(); integer != nullptr && integer->get() >= 0)
      return static_cast<std::uint64_t>(integer->get());
    const auto parsed = node.is_string() ? parse_bytes(node.as_string()->get())
                                         : Result<std::uint64_t>(std::unexpected(bad_input("")));
    if (!parsed) refuse(node, key, "a size such as 2000000000, \"2 GB\" or \"24 GiB\"");
    return *parsed;
  }

  void read_value(const toml::node& node, std::string_view key, BytesField out) {
    out.value = bytes(node, key);
  }

  void read_value(const toml::node& node, std::string_view key, RateField out) {
    out.value = node.is_floating_point() ? node.as_floating_point()->get()
                                         : static_cast<double>(bytes(node, key));
    if (!(out.value > 0)) refuse(node, key, "greater than 0 (bytes per second)");
  }

  void read_value(const toml::node& node, std::string_view key, Duration& out) {
    if (const auto seconds = node.value<double>();
        seconds && !node.is_string() && std::isfinite(*seconds) && std::abs(*seconds) < 1e9) {
      out = from_seconds(*seconds);
      return;
    }
    const auto parsed = node.is_string() ? parse_go_duration(node.as_string()->get())
                                         : Result<Duration>(std::unexpected(bad_input("")));
    if (!parsed) refuse(node, key, "a time such as 2.5 (seconds), \"300ms\" or \"5m\"");
    out = *parsed;
  }

  void read_value(const toml::node& node, std::string_view key, FaultKind& out) {
    const auto kind = node.is_string() ? fault_kind(node.as_string()->get()) : std::nullopt;
    if (!kind) refuse(node, key, "one of: " + fault_names());
    out = *kind;
  }

  void read_value(const toml::node& node, std::string_view key, FaultScope& out) {
    const auto text = node.value_or(std::string_view{});
    if (text != "inference" && text != "all") refuse(node, key, "\"inference\" or \"all\"");
    out = text == "all" ? FaultScope::all : FaultScope::inference;
  }

  void read_value(const toml::node& node, std::string_view key, std::vector<std::string>& out) {
    for (const auto& item : list(node, key)) {
      if (!item.is_string()) refuse(item, key, "a list of texts in quotes");
      out.push_back(item.as_string()->get());
    }
  }

  void read_value(const toml::node& node, std::string_view key, std::vector<ModelSpec>& out) {
    for (const auto& item : list(node, key)) out.push_back(read_model(item));
  }

  void read_value(const toml::node& node, std::string_view key, std::vector<FaultSpec>& out) {
    for (const auto& item : list(node, key)) {
      if (item.is_string()) {
        auto fault = parse_fault(item.as_string()->get());
        if (!fault) refuse(item.source(), fault.error().detail);
        out.push_back(*fault);
      } else if (item.is_table()) {
        read(*item.as_table(), out.emplace_back(), "fault");
      } else {
        refuse(item, key,
               "a list of faults such as \"die_after_tokens:20\" or { kind = \"error\", status = "
               "503 }");
      }
    }
  }

  void read_value(const toml::node& node, std::string_view key, std::vector<NodeSpec>& out) {
    for (const auto& item : list(node, key)) {
      if (!item.is_table()) refuse(item, key, "a table: write [[node]] above it");
      read(*item.as_table(), out.emplace_back(), "node");
    }
  }

  const toml::array& list(const toml::node& node, std::string_view key) const {
    if (!node.is_array()) refuse(node, key, "a list");
    return *node.as_array();
  }

  /// A name alone, or a table; either starts from the [[model]] of that name.
  ModelSpec read_model(const toml::node& node) {
    std::string name;
    const toml::table* table = node.as_table();
    if (table != nullptr) {
      name = table->get("name") != nullptr ? table->get("name")->value_or(std::string{})
                                           : std::string{};
    } else {
      name = node.value_or(std::string{});
    }
    const auto parsed = ModelName::parse(name);
    if (!parsed) refuse(node.source(), "a model needs a name such as \"llama3.2\" or \"qwen3:4b\"");
    const auto base = shared_.find(parsed->key());
    ModelSpec model = base == shared_.end() ? ModelSpec{} : base->second;
    if (table != nullptr) {
      if (table->contains("capabilities")) model.capabilities.clear();
      read(*table, model, "model");
    }
    model.name = name;
    for (const auto* digest : {&model.digest, &model.blob}) {
      if (!digest->empty() &&
          (digest->size() != 64 ||
           digest->find_first_not_of("0123456789abcdef") != std::string::npos)) {
        refuse(
            node.source(),
            fmt::format("model {}: a digest is 64 hexadecimal digits, without \"sha256:\"", name));
      }
    }
    return model;
  }

 public:
  /// The [[model]] tables, which nodes refer to by name.
  void read_shared(const toml::table& root) {
    const auto* models = root.get("model");
    if (models == nullptr) return;
    for (const auto& item : list(*models, "model")) {
      if (!item.is_table()) refuse(item, "model", "a table: write [[model]] above it");
      auto model = read_model(item);
      const auto key = ModelName::parse(model.name)->key();
      shared_.insert_or_assign(key, std::move(model));
    }
  }

 private:
  std::string_view file_;
  std::map<std::string, ModelSpec>& shared_;
};

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);  // JSON's escapes are TOML's too
  return out;
}

/// Writes `key = value` for what differs from the default.
class Writer {
 public:
  template <class Spec>
  static std::string inline_table(const Spec& spec) {
    std::string out;
    for (const auto& line : lines(spec)) out += (out.empty() ? "" : ", ") + line;
    return "{ " + out + " }";
  }

  template <class Spec>
  static std::vector<std::string> lines(Spec spec) {
    Spec fallback{};
    std::vector<std::string> given, defaults;
    visit_fields(spec,
                 [&](std::string_view key, auto&& member) { given.push_back(line(key, member)); });
    visit_fields(fallback, [&](std::string_view key, auto&& member) {
      defaults.push_back(line(key, member));
    });
    std::vector<std::string> out;
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (given[i] != defaults[i]) out.push_back(given[i]);
    }
    return out;
  }

 private:
  template <class T>
  static std::string line(std::string_view key, const T& member) {
    const auto value = text(member);
    return value.empty() ? "" : fmt::format("{} = {}", key, value);
  }

  static std::string text(const std::string& value) { return quoted(value); }
  static std::string text(double value) {
    auto out = fmt::format("{}", value);
    return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
  }
  template <class Integer>
    requires std::is_integral_v<Integer>
  static std::string text(Integer value) {
    return std::to_string(value);
  }
  template <class T>
  static std::string text(const std::optional<T>& value) {
    return value ? text(*value) : "";
  }
  static std::string text(BytesField field) { return std::to_string(field.value); }
  static std::string text(RateField field) { return text(field.value); }
  static std::string text(Duration value) { return quoted(fmt::format("{}s", to_seconds(value))); }
  static std::string text(FaultKind value) { return quoted(fault_name(value)); }
  static std::string text(FaultScope value) {
    return value == FaultScope::all ? "\"all\"" : "\"inference\"";
  }
  static std::string text(const std::vector<std::string>& values) {
    std::string out;
    for (const auto& value : values) out += (out.empty() ? "" : ", ") + quoted(value);
    return "[" + out + "]";
  }
  template <class Spec>
  static std::string text(const std::vector<Spec>& specs) {
    std::string out;
    for (const auto& spec : specs) out += "\n  " + inline_table(spec) + ",";
    return out.empty() ? "[]" : "[" + out + "\n]";
  }
};

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  const auto* found =
      std::ranges::find(byte_units, unit, &std::pair<std::string_view, double>::first);
  if (error != std::errc{} || found == std::end(byte_units) || number < 0 ||
      number * found->second > 1e18) {
    return std::unexpected(
        bad_input(fmt::format("'{}' is no size; write 2000000000, \"2 GB\" or \"24 GiB\"", text)));
  }
  return static_cast<std::uint64_t>(number * found->second);
}

Result<FleetConfig> read_fleet(std::string_view toml, std::string_view file) {
  FleetConfig fleet{.time_scale = 1};
  std::map<std::string, ModelSpec> shared;
  try {
    const auto root = toml::parse(toml, file);
    Reader reader(file, shared);
    reader.read_shared(root);
    reader.read(root, fleet, "fleet file");
    if (fleet.nodes.empty())
      throw Refused{fmt::format(
          "{}: no node; begin with [[node]] and a line listen = \"127.0.1.1:11434\"", file)};
  } catch (const toml::parse_error& error) {
    return std::unexpected(
        bad_input(fmt::format("{}:{}: {}", file, error.source().begin.line, error.description())));
  } catch (const Refused& refused) {
    return std::unexpected(bad_input(refused.text));
  }
  std::set<std::string> names;
  for (auto& node : fleet.nodes) {
    if (node.name.empty()) node.name = fmt::format("node{}", &node - fleet.nodes.data() + 1);
    if (!names.insert(node.name).second)
      return std::unexpected(bad_input(
          fmt::format("{}: two nodes are called '{}'; give each its own name", file, node.name)));
  }
  return fleet;
}

std::string to_toml(const FleetConfig& fleet) {
  std::string out = fmt::format("time_scale = {}\nseed = {}\n", fleet.time_scale, fleet.seed);
  for (const auto& node : fleet.nodes) {
    out += "\n[[node]]\n";
    for (const auto& line : Writer::lines(node)) out += line + "\n";
  }
  return out;
}

}  // namespace sollol::sim
