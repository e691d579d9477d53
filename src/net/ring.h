#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "net/stream.h"
#include "net/task.h"

namespace sollol::net {

class AsioScheduler;

/// One thread's io_uring: what all its streams want of the kernel goes out with one call a round,
/// and what the kernel has to say comes back with the same call.
///
/// It is a guest of the thread's io_context, which tells it when there is something to collect; as
/// long as there is work it goes round by itself. One thread, the one that opens it.
///
/// Received bytes lie in buffers that all sockets share, so a socket that waits holds none.
class Ring {
 public:
  enum class Kind : std::uint8_t { receive, send, writable, cancel };

  /// Whoever has operations under way. Kept alive by the ring until the last has ended.
  class Client {
   public:
    virtual ~Client() = default;
    /// An operation ended, or, with `more`, had one result of several. `result`: bytes, or -errno.
    /// `bytes`: what a receive brought, valid during the call.
    virtual void completed(Kind kind, int result, std::string_view bytes, bool more) = 0;
    /// What `call_soon` asked for.
    virtual void called() = 0;
    /// For the ring to keep it alive by.
    virtual std::shared_ptr<Client> self() = 0;
    /// Nothing will complete any more: what waits for it is to be let go.
    virtual void dropped() = 0;

    static constexpr std::size_t regions_max = 7;

   protected:
    bool busy() const noexcept { return under_way_ > 0; }
    /// What `completed` touches, itself included. With a thousand streams none of it is in the
    /// cache when a piece comes, and some forty misses one after the other cost as much as all else
    /// that the program does for a token: so it is fetched while other clients are called.
    void fetch_ahead(const std::array<Region, regions_max>& touches) noexcept {
      touches_ = touches;
    }

   private:
    friend class Ring;
    unsigned under_way_ = 0;
    std::array<Region, regions_max> touches_{};
  };

  /// Error: refused, when the kernel has no io_uring with what is needed here (6.1 or newer) or
  /// does not allow it: then sockets are served through epoll.
  static Result<std::unique_ptr<Ring>> open(asio::io_context& context, AsioScheduler& scheduler);
  /// Ends all operations. Their clients are released, not called.
  ~Ring();

  /// Receives until it is cancelled, the peer closes or a result comes without `more`.
  void receive(Client& client, int descriptor);
  /// Sends all of `bytes`, which stay where they are until it has ended.
  void send(Client& client, int descriptor, std::string_view bytes);
  /// Ends when the socket takes bytes again.
  void await_writable(Client& client, int descriptor);
  /// Ends the client's operation of that kind early, with -ECANCELED.
  void cancel(Client& client, Kind kind);
  /// Calls `client.called()` from the loop.
  void call_soon(std::shared_ptr<Client> client);
  /// The thread has ended: streams that are destroyed from here on just close. To be called before
  /// the io_context goes; the ring itself outlives the streams.
  void stop() noexcept;
  bool stopped() const noexcept { return stopped_; }
  /// Lets go of all that waits, after `stop`: a task that waits on its own stream holds it, and by
  /// that itself. To be called while everything is there that the tasks refer to.
  void drop_waits();

  struct Impl;

 private:
  Ring();
  void begin(Client& client, Kind kind, void* entry);
  void* next_entry();
  void run();
  void hand_out();
  void collect();
  void fetch_ahead(unsigned head) const noexcept;
  void schedule();
  void await_events();

  std::unique_ptr<Impl> impl_;
  bool stopped_ = false;
};

}  // namespace sollol::net
