#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <set>
#include <string>
#include <vector>

#include "sim/call.h"
#include "sim/routes.h"

namespace sollol::sim {

/// One simulated node on a socket of its own: accepts, routes, misbehaves as told. On the fleet's
/// thread, except the constructor and url().
class NodeServer {
 public:
  struct Shared {
    const SimClock& clock;
    const Catalogue& catalogue;
    SharedLoad& device;
    SharedLoad& host;
    std::uint64_t seed;
  };
  /// Binds the address. Throws boost::system::system_error when it is taken.
  NodeServer(boost::asio::io_context& io, NodeSpec spec, Shared shared,
             std::function<void()> changed);

  const std::string& url() const { return url_; }
  Recorder& recorder() { return recorder_; }
  const NodeSpec& spec() const { return spec_; }

  /// Listens, unless a fault refuses.
  void start();
  /// As a machine that is switched off: nothing listens, connections end, what was loaded is lost.
  void kill();
  /// On the same address. Throws when it is taken meanwhile.
  void restart();
  void set_faults(std::vector<FaultSpec> faults);

 private:
  void open();
  void close();
  std::shared_ptr<LiveModel> make_live();
  boost::asio::awaitable<void> accept_loop(std::uint64_t generation);
  boost::asio::awaitable<void> serve(std::shared_ptr<Exchange> exchange);
  boost::asio::awaitable<void> handle(std::shared_ptr<Exchange> exchange);
  boost::asio::awaitable<void> answer(Call call, const Route& route);
  Handled act(Call call, const Route& route);

  boost::asio::io_context& io_;
  NodeSpec spec_;
  Shared shared_;
  Recorder recorder_;
  Faults faults_;
  Node node_;
  boost::asio::ip::tcp::endpoint endpoint_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::set<std::shared_ptr<Exchange>> connections_;
  std::string url_;
  std::uint64_t generation_ = 0;  // of the accept loop: an old one ends when it sees a newer
  bool accepting_ = false;
  bool killed_ = false;
};

}  // namespace sollol::sim
