// TLS on the listening side and towards nodes.
#include <gtest/gtest.h>

#include <fstream>

#include "discovery/node_spec.h"
#include "discovery/temporary_folder.h"
#include "gateway/nodes.h"
#include "harness.h"
#include "support/certificates.h"

namespace sollol::test {
namespace {

constexpr std::string_view prompt = R"({"model":"llama3.2","prompt":"why is the sky blue"})";

/// Files of an authority and of a certificate for 127.0.0.1.
struct GatewayTls : testing::Test {
  TestAuthority authority;
  TemporaryFolder folder;
  std::string ca_file = write("ca.pem", authority.certificate());

  std::string write(const std::string& name, const std::string& text) {
    std::string path = folder / name;
    std::ofstream(path) << text;
    return path;
  }
  void write_certificate(const Certified& certified) {
    write("cert.pem", certified.certificate);
    write("key.pem", certified.key);
  }
  void listen_secured(gateway::Options& options) {
    options.tls.certificate_file = folder / "cert.pem";
    options.tls.key_file = folder / "key.pem";
  }
  TestFleet secured_fleet(const TestFleet::Change& change = {}) {
    write_certificate(authority.issue({"IP:127.0.0.1"}));
    return TestFleet(equal_nodes(2, {chat_model()}),
                     [&](gateway::Options& options) {
                       listen_secured(options);
                       if (change) change(options);
                     },
                     {.ca_file = ca_file, .fields = {}});
  }
};

TEST_F(GatewayTls, ServesOverTlsAndKeepsTheConnection) {
  TestFleet fleet = secured_fleet();
  RawClient client(fleet.port());
  ASSERT_TRUE(client.secure(ca_file));
  for (int i = 0; i < 3; ++i) {
    client.send(request_text("POST", "/api/generate", prompt));
    const Answer answer = client.receive();
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(last_record(answer.body).at("done").as_bool());
  }
  const auto seen = fleet.nodes().requests("a").size() + fleet.nodes().requests("b").size();
  EXPECT_GT(seen, 0u);
  client.send(request_text("GET", "/", {}, "Connection: close\r\n"));
  EXPECT_EQ(client.receive().body, "Ollama is running");
  EXPECT_TRUE(client.closed()) << "no close_notify";
}

TEST_F(GatewayTls, PlainHttpIsRefusedAndHarmsNobody) {
  TestFleet fleet = secured_fleet();
  RawClient plain(fleet.port());
  plain.send(request_text("GET", "/api/tags"));
  EXPECT_EQ(plain.receive().status, 400);
  EXPECT_EQ(fleet.ask("GET", "/api/tags").status, 200);
  EXPECT_TRUE(fleet.ask("GET", "/metrics").body.contains("sollol_tls_handshakes_failed_total 1"));
}

TEST_F(GatewayTls, AClientThatStallsInTheHandshakeIsDroppedAndCountsAsAConnectionUntilThen) {
  TestFleet fleet = secured_fleet([](gateway::Options& options) {
    options.tls.handshake_timeout = 100ms;
    options.workers = 1;
  });
  RawClient stalled(fleet.port());
  stalled.send("\x16\x03\x01");
  stalled.closed();
  EXPECT_TRUE(fleet.eventually([&] {
    return fleet.ask("GET", "/metrics").body.contains("sollol_tls_handshakes_failed_total 1");
  }));
}

TEST_F(GatewayTls, AReloadedCertificateIsShownToNewConnectionsAndTheOldOnesGoOn) {
  TestFleet fleet = secured_fleet();
  RawClient before(fleet.port());
  ASSERT_TRUE(before.secure(ca_file));
  write_certificate(authority.issue({"IP:127.0.0.1"}));
  gateway::Options options;
  options.access_log = gateway::AccessLog::off;
  listen_secured(options);
  ASSERT_TRUE(fleet.gateway().reload(options).has_value());
  RawClient after(fleet.port());
  ASSERT_TRUE(after.secure(ca_file));
  EXPECT_NE(before.peer_key(), after.peer_key());
  before.send(request_text("GET", "/"));
  EXPECT_EQ(before.receive().status, 200);
  write("cert.pem", "nonsense");
  EXPECT_FALSE(fleet.gateway().reload(options).has_value());
  EXPECT_EQ(fleet.ask("GET", "/").status, 200);
}

TEST_F(GatewayTls, ABadCertificateFileStopsTheStart) {
  gateway::Options options;
  options.listen = {"127.0.0.1", 0};
  options.tls.certificate_file = folder / "none.pem";
  options.tls.key_file = folder / "none.pem";
  gateway::Gateway gateway(std::move(options));
  const auto started = gateway.start();
  ASSERT_FALSE(started.has_value());
  EXPECT_TRUE(started.error().detail.contains("tls.cert")) << started.error().detail;
}

/// A gateway with TLS is as good a node as an Ollama behind a proxy with TLS.
gateway::Options in_front_of(std::uint16_t port) {
  gateway::Options options;
  options.listen = {"127.0.0.1", 0};
  options.access_log = gateway::AccessLog::off;
  options.probe.interval = 50ms;
  auto spec = discovery::parse_node_url("https://127.0.0.1:" + std::to_string(port));
  spec->name = "secured";
  options.nodes.push_back(gateway::to_node_info(*spec));
  return options;
}

TEST_F(GatewayTls, AnHttpsNodeThatIsTrustedServesEverything) {
  TestFleet node = secured_fleet();
  gateway::Options options = in_front_of(node.port());
  options.tls.ca_file = ca_file;
  gateway::Gateway gateway(std::move(options));
  const auto bound = gateway.start();
  ASSERT_TRUE(bound.has_value()) << bound.error().detail;
  ASSERT_TRUE(node.eventually(
      [&] { return ask(bound->port, "GET", "/api/tags").body.contains("llama3.2:latest"); }));
  const Answer answer = ask(bound->port, "POST", "/api/generate", prompt);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(last_record(answer.body).at("done").as_bool());
  EXPECT_EQ(ask(bound->port, "POST", "/api/show", R"({"model":"llama3.2"})").status, 200);
  // A kept connection to the node is used again: the node's session tickets do not end it.
  const auto connects = [&] {
    const std::string name = "\nsollol_upstream_connects_total ";
    const std::string text = ask(bound->port, "GET", "/metrics").body;
    return std::stoi(text.substr(text.find(name) + name.size()));
  };
  const int before = connects();
  EXPECT_EQ(ask(bound->port, "POST", "/api/generate", prompt).status, 200);
  EXPECT_EQ(connects(), before);
}

TEST_F(GatewayTls, AnHttpsNodeThatIsNotTrustedGetsNothing) {
  TestFleet node = secured_fleet();
  gateway::Gateway gateway(in_front_of(node.port()));  // knows nothing of the authority
  const auto bound = gateway.start();
  ASSERT_TRUE(bound.has_value()) << bound.error().detail;
  ASSERT_TRUE(node.eventually(
      [&] { return ask(bound->port, "GET", "/sollol/v1/nodes").body.contains("certificate"); }));
  const Answer answer = ask(bound->port, "POST", "/api/generate", prompt);
  EXPECT_EQ(answer.status, 503);
  for (const char* name : {"a", "b"}) {
    for (const sim::SeenRequest& seen : node.nodes().requests(name))
      EXPECT_FALSE(seen.body.contains("sky")) << name;
  }
}

}  // namespace
}  // namespace sollol::test
