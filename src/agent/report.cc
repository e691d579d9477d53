#include "agent/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <limits>

namespace sollol::agent {

namespace json = boost::json;

namespace {

constexpr std::int64_t version = 1;

template <class T>
json::value or_null(const std::optional<T>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

json::array texts(const std::vector<std::string>& list) {
  return json::array(list.begin(), list.end());
}

json::object to_object(const Machine& machine) {
  return {{"id", machine.id},
          {"boot_id", machine.boot_id},
          {"hostname", machine.hostname},
          {"cores", machine.cores},
          {"memory_total", machine.memory_total},
          {"memory_available", machine.memory_available},
          {"addresses", texts(machine.addresses)},
          {"load", or_null(machine.load)},
          {"cpu_busy", or_null(machine.cpu_busy)},
          {"cpu_foreign", or_null(machine.cpu_foreign)}};
}

json::object to_object(const Gpu& gpu) {
  json::array processes;
  for (const auto& process : gpu.processes) {
    processes.push_back(json::object{{"pid", process.pid},
                                     {"memory", or_null(process.memory)},
                                     {"utilisation", or_null(process.utilisation)},
                                     {"ollama", process.ollama}});
  }
  return {{"uuid", gpu.uuid},
          {"name", gpu.name},
          {"vendor", gpu.vendor},
          {"memory_total", gpu.memory_total},
          {"memory_free", gpu.memory_free},
          {"utilisation", or_null(gpu.utilisation)},
          {"processes", gpu.processes_known ? json::value(std::move(processes)) : nullptr},
          {"foreign_memory", or_null(gpu.foreign_memory)},
          {"foreign_utilisation", or_null(gpu.foreign_utilisation)}};
}

json::object to_object(const LocalNode& node) {
  return {{"pid", node.pid},
          {"port", node.port},
          {"address", node.address},
          {"own_network", node.own_network},
          {"gpus", node.gpus_known ? json::value(texts(node.gpus)) : nullptr},
          {"gpus_in_use", texts(node.gpus_in_use)}};
}

/// Reads one object whose fields may be anything.
class Reader {
 public:
  Reader(const json::value* value, const ReportLimits& limits)
      : object_(value == nullptr ? nullptr : value->if_object()), limits_(limits) {}

  const json::value* find(std::string_view key) const {
    return object_ == nullptr ? nullptr : object_->if_contains(key);
  }

  std::string text(std::string_view key) const { return text_of(find(key)); }

  template <class T>
  std::optional<T> whole(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr || !value->is_number()) return std::nullopt;
    json::error_code error;
    const T number = value->to_number<T>(error);
    return error ? std::nullopt : std::optional<T>(number);
  }

  /// A share or load: finite and not negative.
  std::optional<double> real(std::string_view key, double max) const {
    const auto* value = find(key);
    if (value == nullptr || !value->is_number()) return std::nullopt;
    const double number = value->to_number<double>();
    if (!std::isfinite(number) || number < 0) return std::nullopt;
    return std::min(number, max);
  }

  std::optional<std::uint32_t> percent(std::string_view key) const {
    const auto number = whole<std::uint32_t>(key);
    return number ? std::optional(std::min(*number, 100u)) : std::nullopt;
  }

  std::optional<bool> truth(std::string_view key) const {
    const auto* value = find(key);
    return value != nullptr && value->is_bool() ? std::optional(value->get_bool()) : std::nullopt;
  }

  /// The items of a list up to a limit; whether there is a list.
  template <class Item>
  bool each(std::string_view key, std::size_t max, Item&& item) const {
    const auto* value = find(key);
    if (value == nullptr || !value->is_array()) return false;
    for (const auto& one : value->get_array()) {
      if (max-- == 0) break;
      item(one);
    }
    return true;
  }

  bool texts(std::string_view key, std::size_t max, std::vector<std::string>& into) const {
    return each(key, max, [&](const json::value& one) {
      if (auto text = text_of(&one); !text.empty()) into.push_back(std::move(text));
    });
  }

 private:
  std::string text_of(const json::value* value) const {
    if (value == nullptr || !value->is_string()) return {};
    const std::string_view text = value->get_string();
    const auto control = [](unsigned char c) { return c < ' ' || c == 0x7f; };
    if (text.size() > limits_.text_max || std::ranges::any_of(text, control)) return {};
    return std::string(text);
  }

  const json::object* object_;
  const ReportLimits& limits_;
};

constexpr double load_max = 1e6;

Machine read_machine(const Reader& from, const ReportLimits& limits) {
  Machine machine;
  machine.id = from.text("id");
  machine.boot_id = from.text("boot_id");
  machine.hostname = from.text("hostname");
  machine.cores = from.whole<std::uint32_t>("cores").value_or(0);
  machine.memory_total = from.whole<std::uint64_t>("memory_total").value_or(0);
  machine.memory_available = from.whole<std::uint64_t>("memory_available").value_or(0);
  from.texts("addresses", limits.addresses_max, machine.addresses);
  machine.load = from.real("load", load_max);
  machine.cpu_busy = from.real("cpu_busy", 1);
  machine.cpu_foreign = from.real("cpu_foreign", 1);
  return machine;
}

Gpu read_gpu(const Reader& from, const ReportLimits& limits) {
  Gpu gpu;
  gpu.uuid = from.text("uuid");
  gpu.name = from.text("name");
  gpu.vendor = from.text("vendor");
  gpu.memory_total = from.whole<std::uint64_t>("memory_total").value_or(0);
  gpu.memory_free = from.whole<std::uint64_t>("memory_free").value_or(0);
  gpu.utilisation = from.percent("utilisation");
  gpu.processes_known = from.each("processes", limits.processes_max, [&](const json::value& one) {
    const Reader process(&one, limits);
    gpu.processes.push_back({.pid = process.whole<std::uint32_t>("pid").value_or(0),
                             .memory = process.whole<std::uint64_t>("memory"),
                             .utilisation = process.percent("utilisation"),
                             .ollama = process.truth("ollama").value_or(false)});
  });
  gpu.foreign_memory = from.whole<std::uint64_t>("foreign_memory");
  gpu.foreign_utilisation = from.percent("foreign_utilisation");
  return gpu;
}

LocalNode read_node(const Reader& from, const ReportLimits& limits) {
  LocalNode node;
  node.pid = from.whole<std::uint32_t>("pid").value_or(0);
  node.port = from.whole<std::uint16_t>("port").value_or(0);
  node.address = from.text("address");
  node.own_network = from.truth("own_network").value_or(false);
  node.gpus_known = from.texts("gpus", limits.gpus_max, node.gpus);
  from.texts("gpus_in_use", limits.gpus_max, node.gpus_in_use);
  return node;
}

std::unexpected<Error> bad_report(std::string detail) {
  return std::unexpected(
      Error{ErrorKind::bad_reply, Origin::node, Retry::later, "agent's report: " + detail});
}

double gib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

std::string line_of(const Gpu& gpu) {
  auto line = fmt::format("gpu      {}  {}, {:.1f} of {:.1f} GiB free", gpu.uuid, gpu.name,
                          gib(gpu.memory_free), gib(gpu.memory_total));
  if (gpu.utilisation) line += fmt::format(", {} % busy", *gpu.utilisation);
  if (gpu.foreign_memory && *gpu.foreign_memory > 0)
    line += fmt::format(", {:.1f} GiB by other programs", gib(*gpu.foreign_memory));
  if (gpu.foreign_utilisation && *gpu.foreign_utilisation > 0)
    line += fmt::format(", {} % by other programs", *gpu.foreign_utilisation);
  return line + "\n";
}

std::string line_of(const LocalNode& node) {
  return fmt::format("ollama   {}  process {}{}, GPUs {}\n",
                     node.port == 0 ? "port not known" : fmt::format("port {}", node.port),
                     node.pid, node.own_network ? " in a container" : "",
                     !node.gpus_known    ? "not known"
                     : node.gpus.empty() ? "none"
                                         : fmt::format("{}", fmt::join(node.gpus, ", ")));
}

}  // namespace

std::string to_json(const AgentReport& report) {
  json::array gpus;
  for (const auto& gpu : report.gpus) gpus.push_back(to_object(gpu));
  json::array nodes;
  for (const auto& node : report.nodes) nodes.push_back(to_object(node));
  const json::object root{{"version", version},
                          {"agent", report.agent},
                          {"machine", to_object(report.machine)},
                          {"gpus", std::move(gpus)},
                          {"nodes", std::move(nodes)},
                          {"owner",
                           {{"in_use", or_null(report.owner.in_use)},
                            {"idle_s", or_null(report.owner.idle_s)},
                            {"sessions", report.owner.sessions}}},
                          {"notes", texts(report.notes)}};
  return json::serialize(root) + "\n";
}

Result<AgentReport> parse_report(std::string_view text, const ReportLimits& limits) {
  if (text.size() > limits.bytes_max)
    return bad_report(fmt::format("more than {} bytes", limits.bytes_max));
  json::error_code error;
  const json::value root = json::parse(text, error);
  if (error) return bad_report("no JSON: " + error.message());
  if (!root.is_object()) return bad_report("no JSON object");
  const Reader from(&root, limits);
  const auto told = from.whole<std::int64_t>("version");
  if (told != version)
    return bad_report("not version 1; run the same version of sollol on both machines");
  AgentReport report;
  report.agent = from.text("agent");
  report.machine = read_machine(Reader(from.find("machine"), limits), limits);
  from.each("gpus", limits.gpus_max, [&](const json::value& one) {
    auto gpu = read_gpu(Reader(&one, limits), limits);
    if (!gpu.uuid.empty()) report.gpus.push_back(std::move(gpu));
  });
  from.each("nodes", limits.nodes_max, [&](const json::value& one) {
    report.nodes.push_back(read_node(Reader(&one, limits), limits));
  });
  const Reader owner(from.find("owner"), limits);
  report.owner = {.in_use = owner.truth("in_use"),
                  .idle_s = owner.whole<std::uint64_t>("idle_s"),
                  .sessions = owner.whole<std::uint32_t>("sessions").value_or(0)};
  from.texts("notes", limits.notes_max, report.notes);
  return report;
}

const LocalNode* find_node(const AgentReport& report, std::uint16_t port) {
  const auto at_port = [port](const LocalNode& node) {
    return node.port == port && port != 0 && !node.own_network;
  };
  const auto found = std::ranges::find_if(report.nodes, at_port);
  return found == report.nodes.end() ? nullptr : &*found;
}

const std::vector<std::string>& devices_of(const LocalNode& node) {
  return node.gpus_known ? node.gpus : node.gpus_in_use;
}

std::string to_text(const AgentReport& report) {
  const auto& machine = report.machine;
  auto text = fmt::format("machine  {}  {}, {} cores, {:.1f} of {:.1f} GiB free\n",
                          machine.id.empty() ? "not known" : machine.id, machine.hostname,
                          machine.cores, gib(machine.memory_available), gib(machine.memory_total));
  if (!machine.addresses.empty())
    text += fmt::format("at       {}\n", fmt::join(machine.addresses, ", "));
  for (const auto& gpu : report.gpus) text += line_of(gpu);
  for (const auto& node : report.nodes) text += line_of(node);
  if (report.owner.in_use)
    text += fmt::format("owner    {}\n", *report.owner.in_use ? "uses it" : "does not use it");
  for (const auto& note : report.notes) text += fmt::format("note     {}\n", note);
  return text;
}

}  // namespace sollol::agent
