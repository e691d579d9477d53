#include "discovery/container_engine.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <cstring>
#include <thread>

#include "discovery/node_collector.h"
#include "discovery/temporary_folder.h"
#include "net/tcp.h"

namespace sollol::discovery {
namespace {

constexpr std::string_view answer = R"([
 {"Id":"aaa","Names":["/ollama"],"State":"running","HostConfig":{"NetworkMode":"bridge"},
  "Ports":[{"IP":"0.0.0.0","PrivatePort":11434,"PublicPort":8011,"Type":"tcp"},
           {"IP":"::","PrivatePort":11434,"PublicPort":8011,"Type":"tcp"},
           {"PrivatePort":53,"Type":"udp"}],
  "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2","GlobalIPv6Address":"",
                                           "MacAddress":"02:42:ac:11:00:02"}}}},
 {"Id":"bbb","Names":["/other"],"State":"exited","Ports":[],"NetworkSettings":{"Networks":{}}},
 {"Id":"ccc","Names":null,"Ports":[{"IP":"127.0.0.1","PrivatePort":11434,"PublicPort":8012,"Type":"tcp"},
           {"IP":"192.168.1.5","PrivatePort":80,"PublicPort":80,"Type":"tcp"},
           {"IP":"203.0.113.9","PrivatePort":11434,"PublicPort":8013,"Type":"tcp"}],
  "NetworkSettings":{"Networks":{"podman":{"IPAddress":"10.88.0.3","MacAddress":7},
                                 "odd":{"IPAddress":"8.8.8.8"},"none":null}}}
])";

net::Links links_here() {
  using Kind = net::Interface::Kind;
  return {.interfaces = {{1, "lo", Kind::loopback, "", true, 0},
                         {2, "eth0", Kind::network, "02:00:00:00:00:05", true, 0},
                         {3, "docker0", Kind::bridge, "02:42:00:00:00:01", true, 0}},
          .addresses = {{"127.0.0.1", 8, 1, "127.0.0.0/8"},
                        {"192.168.1.5", 24, 2, "192.168.1.0/24"},
                        {"172.17.0.1", 16, 3, "172.17.0.0/16"}},
          .neighbours = {}};
}

std::vector<std::string> texts(const std::vector<ContainerWay>& ways) {
  std::vector<std::string> all;
  for (const ContainerWay& way : ways) all.push_back(way.name + " " + to_string(way.address));
  return all;
}

TEST(ContainerEngine, IsReadAsDockerAndPodmanAnswer) {
  const auto containers = parse_containers(answer).value();
  ASSERT_EQ(containers.size(), 2u);  // one has exited
  EXPECT_EQ(containers[0].name, "ollama");
  EXPECT_EQ(containers[0].interfaces,
            (std::vector<Container::Interface>{{"172.17.0.2", "02:42:ac:11:00:02"}}));
  EXPECT_EQ(containers[0].published,
            (std::vector<Container::Published>{{11434, {"0.0.0.0", 8011}}, {11434, {"::", 8011}}}));
  EXPECT_EQ(containers[1].name, "ccc");
}

TEST(ContainerEngine, ContainersThatCannotBeReachedAreLookedForAtTheirPublishedPorts) {
  const auto containers = parse_containers(answer).value();
  EXPECT_EQ(texts(container_ways(containers, links_here(), {})),
            (std::vector<std::string>{"ollama 172.17.0.2:11434", "ollama 192.168.1.5:8011",
                                      "ollama 127.0.0.1:8011", "ollama 192.168.1.5:8011",
                                      "ollama 127.0.0.1:8011", "ccc 127.0.0.1:8012"}));
  ScanOptions elsewhere;
  elsewhere.exclude_localhost = true;
  elsewhere.ports = {80};
  EXPECT_EQ(texts(container_ways(containers, links_here(), elsewhere)),
            (std::vector<std::string>{"ollama 172.17.0.2:80", "ccc 192.168.1.5:80"}));
}

TEST(ContainerEngine, WhatItTellsIsBounded) {
  EngineLimits limits;
  limits.containers_max = 1;
  limits.addresses_max = 1;
  limits.candidates_max = 2;
  const auto containers = parse_containers(answer, limits).value();
  ASSERT_EQ(containers.size(), 1u);
  EXPECT_EQ(containers[0].published.size(), 1u);
  EXPECT_EQ(container_ways(containers, links_here(), {}, limits).size(), 2u);
}

TEST(ContainerEngine, ItsSocketIsWhereDockerHostSaysOrWhereItUsuallyIs) {
  EXPECT_EQ(
      engine_sockets(MapEnvironment(
          {{"DOCKER_HOST", "unix:///run/mine.sock"}, {"XDG_RUNTIME_DIR", "/run/user/1"}})),
      (std::vector<std::string>{"/run/mine.sock", "/var/run/docker.sock", "/run/user/1/docker.sock",
                                "/run/user/1/podman/podman.sock", "/run/podman/podman.sock"}));
  EXPECT_EQ(engine_sockets(MapEnvironment({{"DOCKER_HOST", "tcp://10.0.0.1:2375"}})),
            (std::vector<std::string>{"/var/run/docker.sock", "/run/podman/podman.sock"}));
}

/// An engine on a socket of its own that answers every request with the same bytes.
class FakeEngine {
 public:
  FakeEngine(std::string path, std::string bytes) : bytes_(std::move(bytes)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(listener_, 4), 0);
    EXPECT_EQ(::pipe(stop_), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeEngine() {
    ::close(stop_[1]);
    thread_.join();
    ::close(stop_[0]);
    ::close(listener_);
  }

 private:
  void serve() {
    std::vector<int> kept;
    while (true) {
      pollfd watched[2] = {{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}};
      ::poll(watched, 2, -1);
      if (watched[1].revents != 0) break;
      kept.push_back(::accept(listener_, nullptr, nullptr));
      char request[4096];
      static_cast<void>(::recv(kept.back(), request, sizeof request, 0));
      for (std::size_t sent = 0; sent < bytes_.size();) {
        const auto count =
            ::send(kept.back(), bytes_.data() + sent, bytes_.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) break;
        sent += static_cast<std::size_t>(count);
      }
    }
    for (const int one : kept) ::close(one);
  }

  std::string bytes_;
  int listener_ = -1;
  int stop_[2] = {-1, -1};
  std::thread thread_;
};

Result<std::vector<Container>> ask(const std::string& socket, Duration limit,
                                   EngineLimits limits = {}) {
  net::asio::io_context context(1);
  net::AsioScheduler scheduler(context);
  Result<std::vector<Container>> result;
  net::asio::co_spawn(
      context, list_containers(context, scheduler, socket, scheduler.now() + limit, limits),
      [&](std::exception_ptr, Result<std::vector<Container>> told) { result = std::move(told); });
  context.run();
  return result;
}

std::string reply_of(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

constexpr auto patience = std::chrono::seconds(20);

TEST(ContainerEngine, IsAskedOverItsSocket) {
  TemporaryFolder folder;
  FakeEngine engine(folder / "engine", reply_of(answer));
  const auto containers = ask(folder / "engine", patience);
  ASSERT_TRUE(containers) << containers.error().detail;
  EXPECT_EQ(containers->size(), 2u);
}

TEST(ContainerEngine, OneThatIsAbsentBrokenHugeOrSilentIsAnError) {
  TemporaryFolder folder;
  const auto kind_of = [&](const std::string& bytes, Duration limit, EngineLimits limits = {}) {
    static int number = 0;
    const std::string path = folder / ("engine" + std::to_string(number++));
    FakeEngine engine(path, bytes);
    return ask(path, limit, limits).error().kind;
  };
  EXPECT_EQ(ask(folder / "nobody", patience).error().kind, ErrorKind::not_found);
  EXPECT_EQ(ask(std::string(300, 'x'), patience).error().kind, ErrorKind::refused);
  EXPECT_EQ(kind_of("", std::chrono::milliseconds(50)), ErrorKind::timeout);
  EXPECT_EQ(kind_of("no HTTP at all\r\n\r\n", patience), ErrorKind::bad_reply);
  EXPECT_EQ(kind_of(reply_of("{}"), patience), ErrorKind::bad_reply);
  EXPECT_EQ(kind_of(reply_of("[[[["), patience), ErrorKind::bad_reply);
  EXPECT_EQ(kind_of("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", patience),
            ErrorKind::bad_reply);
  EngineLimits small;
  small.reply_max = 4096;
  EXPECT_EQ(kind_of(reply_of(std::string(100000, ' ')), patience, small), ErrorKind::overloaded);
}

Found node_at(std::string ip, std::uint16_t port) {
  api::ModelEntry model;
  model.name = "m";
  model.digest = "d";
  model.modified_at = "2026-01-01T00:00:00.000000007Z";
  Found found;
  found.address = {std::move(ip), port};
  found.what = Found::What::node;
  found.version = "0.9.0";
  found.models = {model};
  return found;
}

TEST(ContainerEngine, BothWaysToAContainerAreOneNodeWhicheverIsHeardFirst) {
  const auto ways = container_ways(parse_containers(answer).value(), links_here(), {});
  for (const bool engine_first : {true, false}) {
    NodeCollector collector(links_here(), {});
    if (engine_first) collector.set_containers(ways);
    collector.add(node_at("172.17.0.2", 11434));
    collector.add(node_at("192.168.1.5", 8011));
    if (!engine_first) collector.set_containers(ways);
    ASSERT_EQ(collector.nodes().size(), 1u);
    const DiscoveredNode& node = collector.nodes()[0];
    EXPECT_EQ(to_string(node.address), "192.168.1.5:8011");  // others can use it too
    EXPECT_EQ(node.others, (std::vector<Address>{{"172.17.0.2", 11434}}));
    EXPECT_EQ(node.container, "ollama");
    EXPECT_TRUE(node.on_this_machine);
  }
}

TEST(ContainerEngine, AnAddressWithAnotherMacAddressIsNotTheContainers) {
  net::Links links = links_here();
  links.neighbours = {{"172.17.0.2", "02:42:ac:11:00:99", 3, false}};
  NodeCollector collector(links, {});
  collector.set_containers(container_ways(parse_containers(answer).value(), links, {}));
  collector.add(node_at("172.17.0.2", 11434));
  collector.add(node_at("192.168.1.5", 8011));
  EXPECT_EQ(collector.nodes().size(), 2u);
}

}  // namespace
}  // namespace sollol::discovery
