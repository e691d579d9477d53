#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>

#include "sim/clock.h"
#include "sim/exchange.h"
#include "sim/node_model.h"

namespace sollol::sim {

/// Runs a NodeModel in real time: one timer, and a wake for the connection of each job that moves
/// on.
class LiveModel : public std::enable_shared_from_this<LiveModel> {
 public:
  LiveModel(boost::asio::io_context& io, const SimClock& clock, const NodeSpec& spec,
            SharedLoad& device, SharedLoad& host)
      : model_(spec, device, host), clock_(clock), timer_(io) {}

  const NodeModel& model() const { return model_; }
  void unload(const Manifest& manifest);
  /// Stops the timer; jobs under way can still be given back.
  void stop() { timer_.cancel(); }

 private:
  friend class Place;
  void settle();

  NodeModel model_;
  const SimClock& clock_;
  boost::asio::steady_timer timer_;
  std::map<JobId, Exchange*> waiters_;
};

/// A job at a node's scheduler; gives its place back when it goes out of scope, however that comes
/// about.
class Place {
 public:
  /// Whether the job was admitted: operator bool. False: the load queue is full.
  Place(std::shared_ptr<LiveModel> live, Exchange& exchange, Demand demand);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  explicit operator bool() const { return id_.has_value(); }

  /// Waits for the runner; when the demand is to generate, for a slot too. Throws ClientGone.
  boost::asio::awaitable<void> ready();
  const Job& job() const { return live_->model_.job(*id_); }
  Duration prefill_step(std::uint32_t tokens) const {
    return live_->model_.prefill_step(*id_, tokens);
  }
  Duration decode_step() const { return live_->model_.decode_step(*id_); }
  /// The work is done; `at` may lie a little in the past, where the plan had it.
  void finish(TimePoint at, std::string_view text);

 private:
  std::shared_ptr<LiveModel> live_;
  Exchange& exchange_;
  std::optional<JobId> id_;
};

}  // namespace sollol::sim
