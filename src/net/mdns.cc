#include "net/mdns.h"

#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/error.h>
#include <avahi-common/simple-watch.h>
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/library.h"

namespace sollol::net {

namespace {

constexpr std::chrono::seconds mdns_retry{10};  // between looks for a daemon that is not there
constexpr int names_max = 16;                   // tried for one that nobody else has

/// The functions of the library that are used, by their own names.
struct Avahi {
  Library client, common;
  decltype(&avahi_simple_poll_new) simple_poll_new = nullptr;
  decltype(&avahi_simple_poll_free) simple_poll_free = nullptr;
  decltype(&avahi_simple_poll_get) simple_poll_get = nullptr;
  decltype(&avahi_simple_poll_iterate) simple_poll_iterate = nullptr;
  decltype(&avahi_simple_poll_wakeup) simple_poll_wakeup = nullptr;
  decltype(&avahi_address_snprint) address_snprint = nullptr;
  decltype(&avahi_client_new) client_new = nullptr;
  decltype(&avahi_client_free) client_free = nullptr;
  decltype(&avahi_service_browser_new) service_browser_new = nullptr;
  decltype(&avahi_service_resolver_new) service_resolver_new = nullptr;
  decltype(&avahi_service_resolver_free) service_resolver_free = nullptr;
  decltype(&avahi_entry_group_new) entry_group_new = nullptr;
  decltype(&avahi_entry_group_reset) entry_group_reset = nullptr;
  decltype(&avahi_entry_group_add_service_strlst) entry_group_add_service_strlst = nullptr;
  decltype(&avahi_entry_group_commit) entry_group_commit = nullptr;

  explicit Avahi(const MdnsOptions& options)
      : client(options.client_libraries), common(options.common_libraries) {}

  /// Whether all are there.
  bool load() {
    return common.find("avahi_simple_poll_new", simple_poll_new) &&
           common.find("avahi_simple_poll_free", simple_poll_free) &&
           common.find("avahi_simple_poll_get", simple_poll_get) &&
           common.find("avahi_simple_poll_iterate", simple_poll_iterate) &&
           common.find("avahi_simple_poll_wakeup", simple_poll_wakeup) &&
           common.find("avahi_address_snprint", address_snprint) &&
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
std::string key_of(AvahiIfIndex interface, AvahiProtocol protocol, const char* name,
                   const char* type) {
  return fmt::format("{}/{}/{}/{}", interface, protocol, type, name);
}

}  // namespace

struct Mdns::Impl {
  explicit Impl(MdnsOptions o) : options(std::move(o)), avahi(options) {}

  void run();
  void serve();
  void running(AvahiClient* client);
  void announce(AvahiClient* client);
  void browse(AvahiClient* client);
  void seen(AvahiIfIndex interface, AvahiProtocol protocol, const char* name, const char* type,
            const AvahiAddress& address, std::uint16_t port);

  static void on_client(AvahiClient* client, AvahiClientState state, void* self);
  static void on_group(AvahiEntryGroup* group, AvahiEntryGroupState state, void* self);
  static void on_browse(AvahiServiceBrowser* browser, AvahiIfIndex interface,
                        AvahiProtocol protocol, AvahiBrowserEvent event, const char* name,
                        const char* type, const char* domain, AvahiLookupResultFlags flags,
                        void* self);
  static void on_resolve(AvahiServiceResolver* resolver, AvahiIfIndex interface,
                         AvahiProtocol protocol, AvahiResolverEvent event, const char* name,
                         const char* type, const char* domain, const char* host,
                         const AvahiAddress* address, std::uint16_t port, AvahiStringList* texts,
                         AvahiLookupResultFlags flags, void* self);

  const MdnsOptions options;
  Avahi avahi;
  // Of the thread alone.
  AvahiSimplePoll* poll = nullptr;
  AvahiClient* client = nullptr;
  AvahiEntryGroup* group = nullptr;
  bool browsing = false;
  bool failed = false;
  int names_tried = 0;
  std::size_t resolving = 0;
  // Of all.
  std::atomic<bool> stopping{false};
  std::condition_variable stop_told;
  mutable std::mutex mutex;  // guards what follows
  std::map<std::string, Address> services;
  std::thread thread;
};

std::unique_ptr<Mdns> Mdns::open(MdnsOptions options, std::string& why) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (!impl->avahi.load()) {
    why = "Avahi's client library is not here";
    return nullptr;
  }
  impl->poll = impl->avahi.simple_poll_new();
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
  impl_->avahi.simple_poll_wakeup(impl_->poll);
  impl_->thread.join();
  impl_->avahi.simple_poll_free(impl_->poll);
}

std::vector<Address> Mdns::found() const {
  const std::scoped_lock lock(impl_->mutex);
  std::vector<Address> all;
  for (const auto& [key, address] : impl_->services) all.push_back(address);
  return all;
}

void Mdns::Impl::run() {
  while (!stopping) {
    serve();
    std::unique_lock lock(mutex);
    services.clear();
    stop_told.wait_for(lock, mdns_retry, [this] { return stopping.load(); });
  }
}

/// Until the daemon is gone or the end is near.
void Mdns::Impl::serve() {
  failed = browsing = false;
  group = nullptr;
  resolving = 0;
  int problem = 0;
  client = avahi.client_new(avahi.simple_poll_get(poll), AVAHI_CLIENT_NO_FAIL, on_client, this,
                            &problem);
  if (client == nullptr) return;
  while (!stopping && !failed) {
    constexpr int for_ever = -1;
    if (avahi.simple_poll_iterate(poll, for_ever) < 0) break;
  }
  avahi.client_free(client);  // and all that it has
  client = nullptr;
}

void Mdns::Impl::on_client(AvahiClient* client, AvahiClientState state, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  if (state == AVAHI_CLIENT_S_RUNNING) impl.running(client);
  if (state == AVAHI_CLIENT_FAILURE) impl.failed = true;
  // The machine's own name is being settled: what stands under it is said anew.
  const bool unsettled = state == AVAHI_CLIENT_S_REGISTERING || state == AVAHI_CLIENT_S_COLLISION;
  if (unsettled && impl.group != nullptr) impl.avahi.entry_group_reset(impl.group);
}

void Mdns::Impl::running(AvahiClient* from) {
  if (options.announce) announce(from);
  if (options.browse && !std::exchange(browsing, true)) browse(from);
}

void Mdns::Impl::announce(AvahiClient* from) {
  if (group == nullptr) group = avahi.entry_group_new(from, on_group, this);
  if (group == nullptr) return;
  const Announcement& what = *options.announce;
  const std::string service(what.service);
  for (; names_tried < names_max; ++names_tried) {
    const std::string name =
        names_tried == 0 ? what.name : fmt::format("{} #{}", what.name, names_tried + 1);
    const int added = avahi.entry_group_add_service_strlst(
        group, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, AvahiPublishFlags{}, name.c_str(),
        service.c_str(), nullptr, nullptr, what.port, nullptr);
    if (added == AVAHI_ERR_COLLISION) continue;
    if (added == AVAHI_OK) avahi.entry_group_commit(group);
    return;
  }
}

void Mdns::Impl::on_group(AvahiEntryGroup* group, AvahiEntryGroupState state, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  if (state != AVAHI_ENTRY_GROUP_COLLISION || impl.client == nullptr) return;
  ++impl.names_tried;
  impl.avahi.entry_group_reset(group);
  impl.announce(impl.client);
}

void Mdns::Impl::browse(AvahiClient* from) {
  for (const std::string_view service : {gateway_service, agent_service}) {
    avahi.service_browser_new(from, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC,
                              std::string(service).c_str(), nullptr, AvahiLookupFlags{}, on_browse,
                              this);
  }
}

void Mdns::Impl::on_browse(AvahiServiceBrowser* /*browser*/, AvahiIfIndex interface,
                           AvahiProtocol protocol, AvahiBrowserEvent event, const char* name,
                           const char* type, const char* domain, AvahiLookupResultFlags flags,
                           void* self) {
  auto& impl = *static_cast<Impl*>(self);
  if (event == AVAHI_BROWSER_FAILURE) impl.failed = true;
  if (event == AVAHI_BROWSER_REMOVE) {
    const std::scoped_lock lock(impl.mutex);
    impl.services.erase(key_of(interface, protocol, name, type));
  }
  const bool own = (flags & (AVAHI_LOOKUP_RESULT_LOCAL | AVAHI_LOOKUP_RESULT_OUR_OWN)) != 0;
  if (event != AVAHI_BROWSER_NEW || own || impl.client == nullptr) return;
  if (impl.resolving >= services_max) return;
  const auto* asked =
      impl.avahi.service_resolver_new(impl.client, interface, protocol, name, type, domain,
                                      AVAHI_PROTO_UNSPEC, AvahiLookupFlags{}, on_resolve, self);
  impl.resolving += asked != nullptr ? 1 : 0;
}

void Mdns::Impl::on_resolve(AvahiServiceResolver* resolver, AvahiIfIndex interface,
                            AvahiProtocol protocol, AvahiResolverEvent event, const char* name,
                            const char* type, const char* /*domain*/, const char* /*host*/,
                            const AvahiAddress* address, std::uint16_t port,
                            AvahiStringList* /*texts*/, AvahiLookupResultFlags /*flags*/,
                            void* self) {
  auto& impl = *static_cast<Impl*>(self);
  --impl.resolving;
  if (event == AVAHI_RESOLVER_FOUND && address != nullptr)
    impl.seen(interface, protocol, name, type, *address, port);
  impl.avahi.service_resolver_free(resolver);
}

void Mdns::Impl::seen(AvahiIfIndex interface, AvahiProtocol protocol, const char* name,
                      const char* type, const AvahiAddress& address, std::uint16_t port) {
  std::array<char, AVAHI_ADDRESS_STR_MAX> ip{};
  avahi.address_snprint(ip.data(), ip.size(), &address);
  const bool is_agent = std::string_view(type) == agent_service;
  const std::scoped_lock lock(mutex);
  if (services.size() >= services_max) return;
  services.insert_or_assign(key_of(interface, protocol, name, type),
                            Address{ip.data(), is_agent ? std::uint16_t{0} : port});
}

}  // namespace sollol::net
