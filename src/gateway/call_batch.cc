// Many calls on one thread.
#include "net/client_socket.h"
#include "sollol/call.h"

namespace sollol {

CallBatch::CallBatch(CallStarter start, std::size_t width)
    : start_(std::move(start)), width_(std::max<std::size_t>(width, 1)) {}

void CallBatch::add(std::uint64_t tag, CallRequest request) {
  waiting_.emplace_back(tag, std::move(request));
  fill();
}

void CallBatch::abandon(std::uint64_t tag) {
  std::erase_if(waiting_, [tag](const auto& one) { return one.first == tag; });
  std::erase_if(running_, [tag](const Running& one) { return one.tag == tag; });
  std::erase_if(done_, [tag](const Done& one) { return one.tag == tag; });
  fill();
}

void CallBatch::fill() {
  while (running_.size() < width_ && !waiting_.empty()) {
    auto [tag, request] = std::move(waiting_.front());
    waiting_.pop_front();
    auto call = start_(std::move(request));
    if (!call) {
      done_.push_back({tag, std::unexpected(call.error())});
      continue;
    }
    Running one{tag, std::move(*call)};
    settle(one, one.call.state());
    if (!one.ended) running_.push_back(std::move(one));
  }
}

/// Takes what has come; one that has ended is among those that are done from now on.
void CallBatch::settle(Running& one, std::expected<Call::State, Failure> state) {
  one.body += one.call.take();
  one.ended = !state || *state == Call::State::ended;
  if (!one.ended) return;
  if (state) {
    done_.push_back({one.tag, CallAnswer{one.call.status(), one.call.field("X-Sollol-Node"),
                                         std::move(one.body)}});
  } else {
    done_.push_back({one.tag, std::unexpected(state.error())});
  }
}

void CallBatch::wait(double seconds) {
  std::vector<net::Awaited> all;
  all.reserve(running_.size());
  for (const Running& one : running_) {
    all.push_back({.descriptor = one.call.descriptor(),
                   .direction = one.call.sends() ? net::Direction::write : net::Direction::read});
  }
  net::wait_for_any(all, from_seconds(seconds));
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].ready) settle(running_[i], running_[i].call.advance());
  }
  std::erase_if(running_, [](const Running& one) { return one.ended; });
}

std::optional<CallBatch::Done> CallBatch::next(double seconds) {
  if (done_.empty() && !running_.empty()) {
    wait(seconds);
    fill();
  }
  if (done_.empty()) return std::nullopt;
  Done first = std::move(done_.front());
  done_.pop_front();
  return first;
}

}  // namespace sollol
