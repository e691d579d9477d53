#include "harness.h"

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "discovery/node_spec.h"
#include "gateway/nodes.h"

namespace sollol::test {

namespace json = boost::json;

sim::ModelSpec chat_model(std::string name) {
  sim::ModelSpec model;
  model.name = std::move(name);
  model.capabilities = {"completion", "tools"};
  model.load_time = 100ms;
  model.decode_tokens_per_s = 2000;
  model.prefill_tokens_per_s = 20000;
  return model;
}

sim::ModelSpec embedding_model() {
  sim::ModelSpec model;
  model.name = "nomic-embed-text";
  model.capabilities = {"embedding"};
  model.embedding_length = 16;
  model.load_time = 50ms;
  return model;
}

sim::FleetConfig equal_nodes(unsigned count, std::vector<sim::ModelSpec> models) {
  sim::FleetConfig config;
  for (unsigned i = 0; i < count; ++i) {
    sim::NodeSpec node;
    node.name = std::string(1, static_cast<char>('a' + i));
    node.models = models;
    config.nodes.push_back(std::move(node));
  }
  return config;
}

TestFleet::TestFleet(sim::FleetConfig config, const Change& change, Way way)
    : fleet_(std::make_unique<sim::Fleet>(std::move(config))), way_(std::move(way)) {
  gateway::Options options;
  options.listen = {"127.0.0.1", 0};
  options.workers = 2;
  if (const char* io = std::getenv("SOLLOL_IO"); io && std::string_view(io) == "epoll")
    options.io = gateway::Io::epoll;
  options.access_log = gateway::AccessLog::off;
  options.access.hosts = {"gateway"};  // what raw requests name
  options.probe.interval = 50ms;
  options.probe.tags_interval = 500ms;
  options.probe.ps_interval = 200ms;
  for (const std::string& name : fleet_->names()) {
    auto spec = discovery::parse_node_url(fleet_->url(name));
    if (!spec) throw std::runtime_error(spec.error().detail);
    spec->name = name;
    options.nodes.push_back(gateway::to_node_info(*spec));
  }
  if (change) change(options);
  const std::size_t wanted = options.nodes.size();
  gateway_ = std::make_unique<gateway::Gateway>(std::move(options));
  const auto bound = gateway_->start();
  if (!bound) throw std::runtime_error(bound.error().detail);
  port_ = bound->port;
  const auto ready = [&] {
    const Answer answer = ask("GET", "/sollol/v1/nodes");
    std::size_t known = 0;
    for (const json::value& node : json::parse(answer.body).at("nodes").as_array()) {
      known += node.at("state") != "unknown" &&
               (node.at("state") != "healthy" || !node.at("models").as_array().empty());
    }
    return known == wanted;
  };
  if (!eventually(ready)) throw std::runtime_error("the gateway did not learn of its nodes");
}

Answer TestFleet::ask(std::string_view method, std::string_view target, std::string_view body,
                      std::string_view fields) {
  RawClient client(port_);
  if (!way_.ca_file.empty() && !client.secure(way_.ca_file)) return {};
  client.send(
      request_text(method, target, body, fields.empty() ? std::string_view(way_.fields) : fields));
  return client.receive(method == "HEAD" ? RawClient::Expect::head_only : RawClient::Expect::body);
}

std::uint16_t TestFleet::node_port(std::string_view name) const {
  return discovery::parse_node_url(fleet_->url(name))->port;
}

json::object TestFleet::node(std::string_view name) {
  const Answer answer = ask("GET", "/sollol/v1/nodes");
  for (const json::value& node : json::parse(answer.body).at("nodes").as_array()) {
    if (node.at("name").as_string() == json::string_view(name)) return node.as_object();
  }
  return {};
}

std::string TestFleet::state(std::string_view name) {
  const json::object found = node(name);
  return found.empty() ? std::string("absent") : std::string(found.at("state").as_string());
}

bool TestFleet::eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (std::chrono::steady_clock::now() < limit) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return condition();
}

sim::FleetConfig slow_loaders(unsigned count, Duration load) {
  sim::FleetConfig config = equal_nodes(count, {chat_model(), embedding_model()});
  config.time_scale = 1;
  for (sim::NodeSpec& node : config.nodes) {
    for (sim::ModelSpec& model : node.models) model.load_time = load;
  }
  return config;
}

std::string joined_text(const std::string& ndjson) {
  std::istringstream lines(ndjson);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const json::value record = json::parse(line);
    if (const auto* message = record.as_object().if_contains("message")) {
      text += message->at("content").as_string();
    } else if (const auto* response = record.as_object().if_contains("response")) {
      text += response->as_string();
    }
  }
  return text;
}

json::object last_record(const std::string& ndjson) {
  std::istringstream lines(ndjson);
  std::string last;
  for (std::string line; std::getline(lines, line);) last = line;
  boost::system::error_code bad;
  const json::value parsed = json::parse(last, bad);
  if (bad) throw std::runtime_error("the last line is not JSON: " + last);
  return parsed.as_object();
}

}  // namespace sollol::test
