#include "net/mdns.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/library.h"
#include "net/avahi.h"

namespace sollol::net {

namespace {

constexpr std::chrono::seconds mdns_retry{10};  // between looks for a daemon that is not there
constexpr int names_max = 16;                   // tried for one that nobody else has

/// The functions of the library that are used, by their own names.
struct Functions {
  Library client, common;
  avahi::SimplePollNew* simple_poll_new = nullptr;
  avahi::SimplePollFree* simple_poll_free = nullptr;
  avahi::SimplePollGet* simple_poll_get = nullptr;
  avahi::SimplePollIterate* simple_poll_iterate = nullptr;
  avahi::SimplePollWakeup* simple_poll_wakeup = nullptr;
  avahi::AddressSnprint* address_snprint = nullptr;
  avahi::StringListAdd* string_list_add = nullptr;
  avahi::StringListFree* string_list_free = nullptr;
  avahi::ClientNew* client_new = nullptr;
  avahi::ClientFree* client_free = nullptr;
  avahi::ServiceBrowserNew* service_browser_new = nullptr;
  avahi::ServiceResolverNew* service_resolver_new = nullptr;
  avahi::ServiceResolverFree* service_resolver_free = nullptr;
  avahi::EntryGroupNew* entry_group_new = nullptr;
  avahi::EntryGroupReset* entry_group_reset = nullptr;
  avahi::EntryGroupAddService* entry_group_add_service_strlst = nullptr;
  avahi::EntryGroupCommit* entry_group_commit = nullptr;

  explicit Functions(const MdnsOptions& options)
      : client(options.client_libraries), common(options.common_libraries) {}

  /// Whether all are there.
  bool load() {
    return common.find("avahi_simple_poll_new", simple_poll_new) &&
           common.find("avahi_simple_poll_free", simple_poll_free) &&
           common.find("avahi_simple_poll_get", simple_poll_get) &&
           common.find("avahi_simple_poll_iterate", simple_poll_iterate) &&
           common.find("avahi_simple_poll_wakeup", simple_poll_wakeup) &&
           common.find("avahi_address_snprint", address_snprint) &&
           common.find("avahi_string_list_add", string_list_add) &&
           common.find("avahi_string_list_free", string_list_free) &&
           client.find("avahi_client_new", client_new) &&
           client.find("avahi_client_free", client_free) &&
           client.find("avahi_service_browser_new", service_browser_new) &&
           client.find("avahi_service_resolver_new", service_resolver_new) &&
           client.find("avahi_service_resolver_free", service_resolver_free) &&
           client.find("avahi_entry_group_new", entry_group_new) &&
           client.find("avahi_entry_group_reset", entry_group_reset) &&
           client.find("avahi_entry_group_add_service_strlst", entry_group_add_service_strlst) &&
           client.find("avahi_entry_group_commit", entry_group_commit);
  }
};

/// One service as the daemon tells it: once for each interface and protocol.
std::string key_of(int interface, int protocol, const char* name, const char* type) {
  return fmt::format("{}/{}/{}/{}", interface, protocol, type, name);
}

}  // namespace

struct Mdns::Impl {
  explicit Impl(MdnsOptions o) : options(std::move(o)), lib(options) {}

  void run();
  void serve();
  void tell_absence();
  void judge_settled() { set_settled(browsers_under_way == 0 && resolving == 0); }
  void set_settled(bool is) {
    const std::scoped_lock lock(mutex);
    settled = is;
  }
  void running(avahi::Client* client);
  void announce(avahi::Client* client);
  void browse(avahi::Client* client);
  void seen(int interface, int protocol, const char* name, const char* type,
            const avahi::Address& address, std::uint16_t port);

  static void on_client(avahi::Client* client, int state, void* self);
  static void on_group(avahi::EntryGroup* group, int state, void* self);
  static void on_browse(avahi::ServiceBrowser* browser, int interface, int protocol, int event,
                        const char* name, const char* type, const char* domain, int flags,
                        void* self);
  static void on_resolve(avahi::ServiceResolver* resolver, int interface, int protocol, int event,
                         const char* name, const char* type, const char* domain, const char* host,
                         const avahi::Address* address, std::uint16_t port,
                         avahi::StringList* texts, int flags, void* self);

  const MdnsOptions options;
  Functions lib;
  // Of the thread alone.
  avahi::SimplePoll* poll = nullptr;
  avahi::Client* client = nullptr;
  avahi::EntryGroup* group = nullptr;
  bool browsing = false;
  bool failed = false;
  bool absence_told = false;
  int browsers_under_way = 0;
  int names_tried = 0;
  std::size_t resolving = 0;
  // Of all.
  std::atomic<bool> stopping{false};
  std::condition_variable stop_told;
  mutable std::mutex mutex;  // guards what follows
  std::map<std::string, Address> services;
  bool settled = false;
  std::thread thread;
};

std::unique_ptr<Mdns> Mdns::open(MdnsOptions options, std::string& why) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (!impl->lib.load()) {
    why = "Avahi's client library is not here";
    return nullptr;
  }
  impl->poll = impl->lib.simple_poll_new();
  if (impl->poll == nullptr) {
    why = "Avahi's client library does not start";
    return nullptr;
  }
  return std::unique_ptr<Mdns>(new Mdns(std::move(impl)));
}

Mdns::Mdns(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->thread = std::thread([mine = impl_.get()] { mine->run(); });
}

Mdns::~Mdns() {
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->stop_told.notify_all();
  impl_->lib.simple_poll_wakeup(impl_->poll);
  impl_->thread.join();
  impl_->lib.simple_poll_free(impl_->poll);
}

Announced Mdns::heard() const {
  const std::scoped_lock lock(impl_->mutex);
  Announced heard{.addresses = {}, .settled = impl_->settled};
  for (const auto& [key, address] : impl_->services) heard.addresses.push_back(address);
  return heard;
}

void Mdns::Impl::run() {
  while (!stopping) {
    serve();
    if (!stopping) tell_absence();
    std::unique_lock lock(mutex);
    services.clear();
    stop_told.wait_for(lock, mdns_retry, [this] { return stopping.load(); });
  }
}

void Mdns::Impl::tell_absence() {
  set_settled(true);
  if (!std::exchange(absence_told, true) && options.told)
    options.told(
        fmt::format("mDNS: no Avahi answers; it is tried again every {} s", mdns_retry.count()));
}

/// Until the daemon is gone or the end is near.
void Mdns::Impl::serve() {
  failed = browsing = false;
  group = nullptr;
  resolving = 0;
  browsers_under_way = 0;
  int problem = 0;
  client =
      lib.client_new(lib.simple_poll_get(poll), avahi::wait_for_daemon, on_client, this, &problem);
  if (client == nullptr) return;
  while (!stopping && !failed) {
    constexpr int for_ever = -1;
    if (lib.simple_poll_iterate(poll, for_ever) < 0) break;
  }
  lib.client_free(client);  // and all that it has
  client = nullptr;
}

void Mdns::Impl::on_client(avahi::Client* client, int state, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  if (state == avahi::client_running) impl.running(client);
  if (state == avahi::client_connecting) impl.tell_absence();
  if (state == avahi::client_failure) impl.failed = true;
  // The machine's own name is being settled: what stands under it is said anew.
  const bool unsettled = state == avahi::client_registering || state == avahi::client_collision;
  if (unsettled && impl.group != nullptr) impl.lib.entry_group_reset(impl.group);
}

void Mdns::Impl::running(avahi::Client* from) {
  absence_told = false;
  if (options.announce) announce(from);
  if (options.browse && !std::exchange(browsing, true)) browse(from);
  judge_settled();
}

void Mdns::Impl::announce(avahi::Client* from) {
  if (group == nullptr) group = lib.entry_group_new(from, on_group, this);
  if (group == nullptr) return;
  const Announcement& what = *options.announce;
  const std::string service(what.service);
  avahi::StringList* texts = nullptr;
  for (const std::string& text : what.texts) texts = lib.string_list_add(texts, text.c_str());
  for (; names_tried < names_max; ++names_tried) {
    const std::string name =
        names_tried == 0 ? what.name : fmt::format("{} #{}", what.name, names_tried + 1);
    const int added = lib.entry_group_add_service_strlst(
        group, avahi::any_interface, avahi::any_protocol, 0, name.c_str(), service.c_str(), nullptr,
        nullptr, what.port, texts);
    if (added == avahi::name_is_taken) continue;
    if (added == avahi::ok) lib.entry_group_commit(group);
    break;
  }
  lib.string_list_free(texts);
}

void Mdns::Impl::on_group(avahi::EntryGroup* group, int state, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  const Announcement& what = *impl.options.announce;
  if (state == avahi::group_established && impl.options.told)
    impl.options.told(fmt::format("mDNS: announced: {} at port {}", what.service, what.port));
  if (state != avahi::group_collision || impl.client == nullptr) return;
  ++impl.names_tried;
  impl.lib.entry_group_reset(group);
  impl.announce(impl.client);
}

void Mdns::Impl::browse(avahi::Client* from) {
  for (const std::string_view service : {gateway_service, agent_service}) {
    ++browsers_under_way;
    lib.service_browser_new(from, avahi::any_interface, avahi::any_protocol,
                            std::string(service).c_str(), nullptr, 0, on_browse, this);
  }
}

void Mdns::Impl::on_browse(avahi::ServiceBrowser* /*browser*/, int interface, int protocol,
                           int event, const char* name, const char* type, const char* domain,
                           int flags, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  if (event == avahi::browser_failure) impl.failed = true;
  if (event == avahi::browser_all_for_now) {
    --impl.browsers_under_way;
    impl.judge_settled();
  }
  if (event == avahi::browser_remove) {
    const std::scoped_lock lock(impl.mutex);
    impl.services.erase(key_of(interface, protocol, name, type));
  }
  const bool own = (flags & (avahi::result_of_this_machine | avahi::result_of_this_client)) != 0;
  if (event != avahi::browser_new || own || impl.client == nullptr) return;
  if (impl.resolving >= services_max) return;
  const auto* asked =
      impl.lib.service_resolver_new(impl.client, interface, protocol, name, type, domain,
                                    avahi::any_protocol, 0, on_resolve, self);
  impl.resolving += asked != nullptr ? 1 : 0;
}

void Mdns::Impl::on_resolve(avahi::ServiceResolver* resolver, int interface, int protocol,
                            int event, const char* name, const char* type, const char* /*domain*/,
                            const char* /*host*/, const avahi::Address* address, std::uint16_t port,
                            avahi::StringList* /*texts*/, int /*flags*/, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  --impl.resolving;
  if (event == avahi::resolver_found && address != nullptr)
    impl.seen(interface, protocol, name, type, *address, port);
  impl.judge_settled();
  impl.lib.service_resolver_free(resolver);
}

void Mdns::Impl::seen(int interface, int protocol, const char* name, const char* type,
                      const avahi::Address& address, std::uint16_t port) {
  std::array<char, avahi::address_text_max> ip{};
  lib.address_snprint(ip.data(), ip.size(), &address);
  const bool is_agent = std::string_view(type) == agent_service;
  const std::scoped_lock lock(mutex);
  if (services.size() >= services_max) return;
  services.insert_or_assign(key_of(interface, protocol, name, type),
                            Address{ip.data(), is_agent ? std::uint16_t{0} : port});
}

}  // namespace sollol::net
