#pragma once

#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <string>

#include "gateway/gateway.h"
#include "sim/fleet.h"
#include "support/raw_client.h"

namespace sollol::test {

using namespace std::chrono_literals;

sim::ModelSpec chat_model(std::string name = "llama3.2");
sim::ModelSpec embedding_model();

/// Simulated nodes with a gateway in front of them, on free loopback ports.
class TestFleet {
 public:
  using Change = std::function<void(gateway::Options&)>;
  /// How the tests' own requests are made: over TLS when there is an authority's file, and with
  /// these fields (a key) where a test gives none.
  struct Way {
    std::string ca_file;
    std::string fields;
  };
  explicit TestFleet(sim::FleetConfig config, const Change& change = {}, Way way = Way());

  sim::Fleet& nodes() { return *fleet_; }
  std::uint16_t port() const { return port_; }
  /// Port of one node, to ask it directly.
  std::uint16_t node_port(std::string_view name) const;

  Answer ask(std::string_view method, std::string_view target, std::string_view body = {},
             std::string_view fields = {});
  gateway::Gateway& gateway() { return *gateway_; }
  /// What `/sollol/v1/nodes` says about a node.
  boost::json::object node(std::string_view name);
  std::string state(std::string_view name);
  /// Asks again and again until the condition holds; false when it does not within ten seconds.
  bool eventually(const std::function<bool()>& condition);

 private:
  std::unique_ptr<sim::Fleet> fleet_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::uint16_t port_ = 0;
  Way way_;
};

/// Nodes "a", "b", "c" … with the same models.
sim::FleetConfig equal_nodes(unsigned count, std::vector<sim::ModelSpec> models);

/// The same with a chat and an embedding model, which take so long of real time to load.
sim::FleetConfig slow_loaders(unsigned count, Duration load = 400ms);

/// The text of the records of an NDJSON answer, joined; `field` is "response" or "content".
std::string joined_text(const std::string& ndjson);
/// The last line of an NDJSON body.
boost::json::object last_record(const std::string& ndjson);

}  // namespace sollol::test
