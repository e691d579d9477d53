#include "sim/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include "sim/node_server.h"

namespace sollol::sim {
namespace asio = boost::asio;

struct Fleet::Impl {
  using Guard = asio::executor_work_guard<asio::io_context::executor_type>;

  explicit Impl(FleetConfig given) : config(std::move(given)), clock(config.time_scale) {
    for (const auto& node : config.nodes) {
      for (const auto& model : node.models) catalogue.add(model);
    }
    std::uint64_t seed = config.seed;
    for (auto& node : config.nodes) {
      if (node.name.empty()) node.name = fmt::format("node{}", servers.size() + 1);
      add(node, ++seed);
    }
  }

  void add(const NodeSpec& node, std::uint64_t seed) {
    const auto host = node.host.empty() ? "host of " + node.name : node.host;
    const auto device = host + "/" + (node.device.empty() ? "device of " + node.name : node.device);
    const NodeServer::Shared shared{clock, catalogue, devices[device], hosts[host], seed};
    const auto fail = [&](std::string_view why) {
      throw std::runtime_error(fmt::format("simulated node {}: cannot listen at {}: {}", node.name,
                                           node.address.empty() ? "127.0.0.1" : node.address, why));
    };
    try {
      servers.push_back(std::make_unique<NodeServer>(io, node, shared, [this] { note_change(); }));
    } catch (const boost::system::system_error& error) {
      fail(error.code().message());
    } catch (const std::invalid_argument& error) {
      fail(error.what());
    }
  }

  void note_change() {
    {
      const std::lock_guard lock(mutex);
      ++changes;
    }
    changed.notify_all();
  }

  NodeServer& find(std::string_view name) const {
    const auto found = std::ranges::find(
        servers, name, [](const auto& server) { return std::string_view(server->spec().name); });
    if (found == servers.end())
      throw std::out_of_range(fmt::format("no simulated node '{}'", name));
    return **found;
  }

  /// Runs it on the fleet's thread, and waits; here when the fleet is stopped.
  void run_there(const std::function<void()>& action) {
    if (!thread.joinable() || thread.get_id() == std::this_thread::get_id()) return action();
    std::promise<void> done;
    asio::post(io, [&] {
      try {
        action();
        done.set_value();
      } catch (...) {
        done.set_exception(std::current_exception());
      }
    });
    done.get_future().get();
  }

  FleetConfig config;
  SimClock clock;
  Catalogue catalogue;
  std::map<std::string, SharedLoad> devices, hosts;
  asio::io_context io{1};
  std::optional<Guard> guard;
  std::vector<std::unique_ptr<NodeServer>> servers;
  std::thread thread;
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::uint64_t changes = 0;
};

Fleet::Fleet(FleetConfig config) : impl_(std::make_unique<Impl>(std::move(config))) { start(); }

Fleet::~Fleet() { stop(); }

void Fleet::start() {
  if (impl_->thread.joinable()) return;
  impl_->guard.emplace(asio::make_work_guard(impl_->io));
  impl_->io.restart();
  for (const auto& server : impl_->servers) server->restart();
  impl_->thread = std::thread([impl = impl_.get()] { impl->io.run(); });
}

void Fleet::stop() {
  if (!impl_->thread.joinable()) return;
  impl_->run_there([this] {
    for (const auto& server : impl_->servers) server->kill();
    impl_->guard.reset();  // run() returns when the last connection has unwound
  });
  impl_->thread.join();
}

std::vector<std::string> Fleet::names() const {
  std::vector<std::string> out;
  for (const auto& server : impl_->servers) out.push_back(server->spec().name);
  return out;
}

std::string Fleet::url(std::string_view node) const { return impl_->find(node).url(); }

std::vector<std::string> Fleet::urls() const {
  std::vector<std::string> out;
  for (const auto& server : impl_->servers) out.push_back(server->url());
  return out;
}

void Fleet::set_fault(std::string_view node, FaultSpec fault) {
  set_faults(node, {std::move(fault)});
}

void Fleet::set_faults(std::string_view node, std::vector<FaultSpec> faults) {
  auto& server = impl_->find(node);
  impl_->run_there([&] { server.set_faults(std::move(faults)); });
}

void Fleet::kill(std::string_view node) {
  auto& server = impl_->find(node);
  impl_->run_there([&] { server.kill(); });
}

void Fleet::restart(std::string_view node) {
  auto& server = impl_->find(node);
  impl_->run_there([&] { server.restart(); });
}

NodeCounters Fleet::counters(std::string_view node) const {
  return impl_->find(node).recorder().counters();
}

std::vector<SeenRequest> Fleet::requests(std::string_view node) const {
  return impl_->find(node).recorder().requests();
}

std::optional<SeenRequest> Fleet::last_request(std::string_view node, std::string_view path) const {
  const auto all = requests(node);
  const auto found = std::find_if(all.rbegin(), all.rend(),
                                  [&](const auto& request) { return request.path == path; });
  if (found == all.rend()) return std::nullopt;
  return *found;
}

bool Fleet::wait_until(const std::function<bool()>& condition,
                       std::chrono::steady_clock::duration timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    std::unique_lock lock(impl_->mutex);
    const auto seen = impl_->changes;
    lock.unlock();
    if (condition()) return true;
    lock.lock();
    if (!impl_->changed.wait_until(lock, deadline, [&] { return impl_->changes != seen; })) {
      lock.unlock();
      return condition();
    }
  }
}

}  // namespace sollol::sim
