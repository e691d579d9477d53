#include "net/ring.h"

#include <fmt/format.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "net/tcp.h"

namespace sollol::net {

namespace {

// The kernel and the program go round in these and in the buffers: small, they stay in the cache.
constexpr unsigned entries = 256;               // of one round; more go out at once
constexpr unsigned completions = 16 * entries;  // beyond it the kernel keeps them itself
constexpr unsigned buffer_count = 512;          // power of two
constexpr unsigned buffer_size = 4096;
// Were it a power of two, the beginnings of all would share a few places of the cache.
constexpr unsigned buffer_distance = buffer_size + 192;
constexpr int buffer_group = 1;
constexpr int rounds_max = 32;  // then whatever else the thread has to do has its turn

constexpr unsigned clients_of_a_turn = 16;  // which have one time: some 100 us

constexpr unsigned fetched_ahead = 3;  // clients: the work for them takes as long as a fetch
constexpr std::size_t cache_line = 64;

constexpr std::uint64_t kind_mask = 3;  // clients are aligned to more than that

using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

Error unavailable(std::string_view what, int code) {
  return {ErrorKind::refused, Origin::gateway, Retry::never,
          fmt::format("io_uring: {}: {}", what, std::strerror(code))};
}

}  // namespace

struct Ring::Impl {
  Impl(asio::io_context& context, AsioScheduler& clock)
      : executor(context.get_executor()), scheduler(clock), events(std::in_place, context) {}

  asio::io_context::executor_type executor;
  AsioScheduler& scheduler;
  // Readable when there is something to collect while the loop does not run. The ring's own
  // descriptor would not do: work that is deferred wakes nobody who polls that.
  std::optional<Descriptor> events;
  std::uint64_t event_count = 0;
  io_uring ring{};
  bool ring_open = false;
  io_uring_buf_ring* buffers = nullptr;
  std::unique_ptr<char[]> memory;
  std::unordered_map<Client*, std::shared_ptr<Client>> busy;
  std::vector<std::shared_ptr<Client>> to_call;
  std::vector<std::shared_ptr<Client>> calling;
  bool running = false;
  bool scheduled = false;
  bool awaiting = false;

  char* buffer(unsigned index) noexcept {
    return memory.get() + std::size_t{index} * buffer_distance;
  }
  void give_back(unsigned index) noexcept {
    io_uring_buf_ring_add(buffers, buffer(index), buffer_size, static_cast<unsigned short>(index),
                          io_uring_buf_ring_mask(buffer_count), 0);
    io_uring_buf_ring_advance(buffers, 1);
  }
  /// Whether another round has something to do.
  bool more_to_do() const noexcept {
    const unsigned flags = IO_URING_READ_ONCE(*ring.sq.kflags);
    return io_uring_sq_ready(&ring) > 0 || !to_call.empty() ||
           (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }
  Result<void> set_up();
};

Result<void> Ring::Impl::set_up() {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                     IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  parameters.cq_entries = completions;
  if (const int failed = io_uring_queue_init_params(entries, &ring, &parameters); failed < 0)
    return std::unexpected(unavailable("cannot be set up", -failed));
  ring_open = true;
  const std::size_t bytes = buffer_count * sizeof(io_uring_buf);
  void* const shared =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (shared == MAP_FAILED) return std::unexpected(unavailable("no memory", errno));
  buffers = static_cast<io_uring_buf_ring*>(shared);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(shared);
  registration.ring_entries = buffer_count;
  registration.bgid = buffer_group;
  if (const int failed = io_uring_register_buf_ring(&ring, &registration, 0); failed < 0)
    return std::unexpected(unavailable("shared buffers are refused", -failed));
  io_uring_buf_ring_init(buffers);
  memory = std::make_unique_for_overwrite<char[]>(std::size_t{buffer_count} * buffer_distance);
  for (unsigned i = 0; i < buffer_count; ++i) give_back(i);
  const int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0) return std::unexpected(unavailable("no descriptor left", errno));
  events->assign(descriptor);
  if (const int failed = io_uring_register_eventfd(&ring, descriptor); failed < 0)
    return std::unexpected(unavailable("an eventfd is refused", -failed));
  io_uring_cq_eventfd_toggle(&ring, false);
  return {};
}

Ring::Ring() = default;

Result<std::unique_ptr<Ring>> Ring::open(asio::io_context& context, AsioScheduler& scheduler) {
  std::unique_ptr<Ring> ring(new Ring);
  ring->impl_ = std::make_unique<Impl>(context, scheduler);
  const Result<void> set_up = ring->impl_->set_up();
  if (!set_up) return std::unexpected(set_up.error());
  return ring;
}

Ring::~Ring() {
  stop();
  if (impl_->ring_open) io_uring_queue_exit(&impl_->ring);
  if (impl_->buffers != nullptr) ::munmap(impl_->buffers, buffer_count * sizeof(io_uring_buf));
  // Not before: the kernel may have been sending from their memory.
  impl_->to_call.clear();
  std::exchange(impl_->busy, {}).clear();
}

void Ring::stop() noexcept {
  stopped_ = true;
  impl_->events.reset();
}

void Ring::drop_waits() {
  std::vector<std::shared_ptr<Client>> clients = impl_->to_call;
  for (const auto& [client, held] : impl_->busy) clients.push_back(held);
  for (const auto& client : clients) client->dropped();
}

void* Ring::next_entry() {
  io_uring_sqe* entry = io_uring_get_sqe(&impl_->ring);
  while (entry == nullptr) {
    io_uring_submit(&impl_->ring);
    entry = io_uring_get_sqe(&impl_->ring);
  }
  return entry;
}

void Ring::begin(Client& client, Kind kind, void* entry) {
  const auto address = reinterpret_cast<std::uintptr_t>(&client);
  io_uring_sqe_set_data64(static_cast<io_uring_sqe*>(entry), address | std::to_underlying(kind));
  if (client.under_way_++ == 0) impl_->busy.emplace(&client, client.self());
  schedule();
}

void Ring::receive(Client& client, int descriptor) {
  auto* entry = static_cast<io_uring_sqe*>(next_entry());
  io_uring_prep_recv_multishot(entry, descriptor, nullptr, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = buffer_group;
  begin(client, Kind::receive, entry);
}

void Ring::send(Client& client, int descriptor, std::string_view bytes) {
  auto* entry = static_cast<io_uring_sqe*>(next_entry());
  io_uring_prep_send(entry, descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_WAITALL);
  begin(client, Kind::send, entry);
}

void Ring::await_writable(Client& client, int descriptor) {
  auto* entry = static_cast<io_uring_sqe*>(next_entry());
  io_uring_prep_poll_add(entry, descriptor, POLLOUT);
  begin(client, Kind::writable, entry);
}

void Ring::cancel(Client& client, Kind kind) {
  auto* entry = static_cast<io_uring_sqe*>(next_entry());
  const auto address = reinterpret_cast<std::uintptr_t>(&client);
  io_uring_prep_cancel64(entry, address | std::to_underlying(kind), 0);
  begin(client, Kind::cancel, entry);
}

void Ring::call_soon(std::shared_ptr<Client> client) {
  impl_->to_call.push_back(std::move(client));
  schedule();
}

/// Makes sure that the loop runs once whatever is being done now is done.
void Ring::schedule() {
  Impl& impl = *impl_;
  if (impl.running || std::exchange(impl.scheduled, true)) return;
  asio::post(impl.executor, [this] {
    if (stopped_) return;
    impl_->scheduled = false;
    run();
  });
}

void Ring::await_events() {
  if (std::exchange(impl_->awaiting, true)) return;
  const asio::mutable_buffer count(&impl_->event_count, sizeof impl_->event_count);
  impl_->events->async_read_some(count, [this](boost::system::error_code problem, std::size_t) {
    if (problem || stopped_) return;
    impl_->awaiting = false;
    run();
  });
}

void Ring::run() {
  Impl& impl = *impl_;
  if (impl.running) return;
  impl.running = true;
  io_uring_cq_eventfd_toggle(&impl.ring, false);
  int rounds = 0;
  do {
    do {
      io_uring_submit_and_get_events(&impl.ring);
      hand_out();
    } while (++rounds < rounds_max && impl.more_to_do());
    io_uring_cq_eventfd_toggle(&impl.ring, true);
    // What came between the last look and this is not told any more, nor is what follows it. The
    // kernel queues and then looks whether to tell; this tells first and then looks: without the
    // fence each could miss the other.
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } while (rounds < rounds_max && impl.more_to_do());
  impl.running = false;
  if (impl.more_to_do()) schedule();
  await_events();
}

void Ring::hand_out() {
  Impl& impl = *impl_;
  impl.scheduler.next_turn();
  collect();
  std::swap(impl.calling, impl.to_call);
  for (const auto& client : impl.calling) client->called();
  impl.calling.clear();
}

/// Begins to fetch what the clients of the completions after `head` will touch: first of each what
/// says what that is, some clients later the rest.
void Ring::fetch_ahead(unsigned head) const noexcept {
  const io_uring_cq& queue = impl_->ring.cq;
  const unsigned left = io_uring_smp_load_acquire(queue.ktail) - head;
  const auto client_at = [&](unsigned ahead) {
    const io_uring_cqe& entry = queue.cqes[(head + ahead) & *queue.kring_mask];
    return reinterpret_cast<const Client*>(entry.user_data & ~kind_mask);
  };
  if (left > 2 * fetched_ahead) {
    const auto* first = reinterpret_cast<const char*>(client_at(2 * fetched_ahead));
    for (std::size_t at = 0; at < sizeof(Client); at += cache_line) __builtin_prefetch(first + at);
  }
  if (left <= fetched_ahead) return;
  for (const Region& region : client_at(fetched_ahead)->touches_) {
    const auto* first = static_cast<const char*>(region.at);
    for (std::size_t at = 0; at < region.bytes; at += cache_line) __builtin_prefetch(first + at);
  }
}

/// Hands out what has completed.
void Ring::collect() {
  Impl& impl = *impl_;
  io_uring_cqe* entry = nullptr;
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_for_each_cqe(&impl.ring, head, entry) {
    fetch_ahead(head);
    const std::uint64_t data = entry->user_data;
    const int result = entry->res;
    const bool more = (entry->flags & IORING_CQE_F_MORE) != 0;
    const bool has_buffer = (entry->flags & IORING_CQE_F_BUFFER) != 0;
    const unsigned buffer = entry->flags >> IORING_CQE_BUFFER_SHIFT;
    if (++seen % clients_of_a_turn == 0) impl.scheduler.next_turn();
    auto* client = reinterpret_cast<Client*>(data & ~kind_mask);
    std::shared_ptr<Client> last;  // keeps it over the call when this was its last operation
    if (!more && --client->under_way_ == 0) {
      const auto held = impl.busy.find(client);
      last = std::move(held->second);
      impl.busy.erase(held);
    }
    const std::string_view bytes =
        has_buffer && result > 0
            ? std::string_view(impl.buffer(buffer), static_cast<std::size_t>(result))
            : std::string_view{};
    client->completed(static_cast<Kind>(data & kind_mask), result, bytes, more);
    if (has_buffer) impl.give_back(buffer);
  }
  io_uring_cq_advance(&impl.ring, seen);
}

}  // namespace sollol::net
