// SPDX-License-Identifier: MIT
// bench-conversation -m FILE: what a program with many conversations waits for and what memory they take: forks, saves,
// a shared prefix, cancelling, idling, pages; and what the machine itself makes them wait for. Prints what it measured
// and, with --json, one object.
#include "json_writer.hpp"
#include "options.hpp"

#include <bitnet/any.hpp>
#include <bitnet/core/huge_pages.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/thread/thread_pool.hpp>
#include <bitnet/thread/usable_cores.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <sys/resource.h>
#endif

namespace {

using steady = std::chrono::steady_clock;

struct settings {
    std::string file;
    std::string isa;
    std::string only;
    bool json = false;
    std::size_t threads = bitnet::usable_cores();
    std::size_t conversations = 100;
    std::size_t shared = 1000;
    std::size_t own = 100;
    std::size_t saved = 2000;
    std::size_t prompt = 4000;
    std::size_t cancels = 1000;
    std::size_t rounds = 15;
    std::size_t idle_seconds = 3;

    /// What the model's context has no room for becomes less.
    void fit(std::size_t context) {
        if (shared + own > context) {
            shared = context / 2;
            own = context / 8;
        }
        saved = (std::min)(saved, context - (std::min)(context / 4, std::size_t{128}));
        prompt = (std::min)(prompt, context);
    }
};

/// The value of a result, or the end of the program with its sentence.
template <class T> T must(bitnet::result<T> made) {
    if (!made) {
        std::fprintf(stderr, "bench-conversation: %s\n", made.error().message.c_str());
        std::exit(1);
    }
    return *std::move(made);
}
void must(const bitnet::result<void>& done) {
    if (!done) {
        std::fprintf(stderr, "bench-conversation: %s\n", done.error().message.c_str());
        std::exit(1);
    }
}

double milliseconds_since(steady::time_point start) {
    return std::chrono::duration<double, std::milli>(steady::now() - start).count();
}
/// CPU time of all threads of this process.
double cpu_milliseconds() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// How often a thread of this process has begun to wait; 0 where the system does not tell.
std::size_t waits() {
#if defined(_WIN32)
    return 0;
#else
    rusage used{};
    return ::getrusage(RUSAGE_SELF, &used) == 0 ? static_cast<std::size_t>(used.ru_nvcsw) : 0;
#endif
}

/// Times of equal things, or other numbers, and what of them is stated.
class sample {
public:
    void add(double value) { all_.push_back(value); }
    void add(const sample& other) { all_.insert(all_.end(), other.all_.begin(), other.all_.end()); }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    /// The smallest value that a share of so much does not exceed.
    [[nodiscard]] double at(double share) {
        if (all_.empty()) {
            return 0;
        }
        std::sort(all_.begin(), all_.end());
        const auto rank = static_cast<std::size_t>(share * static_cast<double>(all_.size()));
        return all_[(std::min)(rank, all_.size() - 1)];
    }
    [[nodiscard]] double median() { return at(0.5); }
    [[nodiscard]] double max() { return at(1); }

private:
    std::vector<double> all_;
};

/// Prints a line for each figure, and keeps them as JSON.
class report {
public:
    void begin(std::string_view part) {
        std::printf("%.*s\n", static_cast<int>(part.size()), part.data());
        json_.begin(part, '{');
    }
    void end() { json_.end('}'); }
    void put(std::string_view name, std::integral auto value) {
        std::printf("  %-32.*s %llu\n", static_cast<int>(name.size()), name.data(),
                    static_cast<unsigned long long>(value));
        json_.member(name, value);
        std::fflush(stdout);
    }
    void put(std::string_view name, double value) {
        std::printf("  %-32.*s %.4f\n", static_cast<int>(name.size()), name.data(), value);
        json_.member(name, value);
        std::fflush(stdout);
    }
    void put(std::string_view name, std::string_view value) {
        std::printf("%-34.*s %.*s\n", static_cast<int>(name.size()), name.data(), static_cast<int>(value.size()),
                    value.data());
        json_.member(name, value);
    }
    void open() { json_.begin('{'); }
    [[nodiscard]] const std::string& close() {
        json_.end('}');
        return json_.text();
    }

private:
    tools::json_writer json_;
};

std::uint64_t resident_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmRSS:")) {
            return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
        }
    }
    return 0;
}

/// Memory from operator new with huge pages where the library would ask for them, counted by what it is for.
class counted_memory {
public:
    static constexpr std::size_t uses = 5;

    [[nodiscard]] bitnet::memory_source source() noexcept { return {&allocate, &release, this}; }
    [[nodiscard]] std::uint64_t of(bitnet::memory_use use) const noexcept {
        return live_[static_cast<std::size_t>(use)].load();
    }
    [[nodiscard]] std::uint64_t all() const noexcept {
        std::uint64_t sum = 0;
        for (const auto& each : live_) {
            sum += each.load();
        }
        return sum;
    }

private:
    static constexpr std::size_t front = 64; ///< bytes in front of each block, which say what it is for

    static void* allocate(void* context, std::size_t bytes, std::size_t alignment, bitnet::memory_hint hint) noexcept {
        if (alignment > front) {
            return nullptr;
        }
        auto* const block =
            static_cast<std::byte*>(::operator new (bytes + front, std::align_val_t{front}, std::nothrow));
        if (block == nullptr) {
            return nullptr;
        }
        if (hint.huge_pages) {
            bitnet::detail::ask_for_huge_pages(block, bytes + front);
        }
        block[0] = static_cast<std::byte>(hint.use);
        static_cast<counted_memory*>(context)->live_[static_cast<std::size_t>(hint.use)] += bytes;
        return block + front;
    }
    static void release(void* context, void* memory, std::size_t bytes, std::size_t) noexcept {
        auto* const block = static_cast<std::byte*>(memory) - front;
        static_cast<counted_memory*>(context)->live_[std::to_integer<std::size_t>(block[0])] -= bytes;
        ::operator delete (block, std::align_val_t{front});
    }

    std::array<std::atomic<std::uint64_t>, uses> live_{};
};

std::vector<bitnet::token> some_tokens(std::size_t count, std::size_t vocabulary, std::uint64_t seed) {
    std::vector<bitnet::token> ids(count);
    for (bitnet::token& id : ids) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        id = static_cast<bitnet::token>((seed >> 33) % vocabulary);
    }
    return ids;
}

class bench {
public:
    bench(const settings& chosen, report& out) : chosen_(chosen), out_(out) {}

    void run() {
        {
            const bitnet::any_model model = opened({});
            const auto pool = must(bitnet::thread_pool::open(chosen_.threads));
            model_ = &model;
            pool_ = pool.get();
            chosen_.fit(model.parameters().context);
            describe();
            part("fork", [&] { measure_forks(); });
            part("save", [&] { measure_saves(); });
            part("pages", [&] { measure_pages(); });
            part("cancel", [&] { measure_cancelling(); });
            part("idle", [&] { measure_idling(); });
            part("machine", [&] { measure_machine(); });
        }
        part("shared_prefix", [&] { measure_shared_prefix(); });
    }

private:
    template <class Measure> void part(std::string_view name, Measure&& measure) {
        if (chosen_.only.empty() || chosen_.only == name) {
            out_.begin(name);
            measure();
            out_.end();
        }
    }

    [[nodiscard]] bitnet::any_model opened(const bitnet::open_options& options) const {
        auto model = must(bitnet::any_model::open(std::string_view(chosen_.file), options, chosen_.isa));
        while (model.head_screen() == bitnet::screen_state::being_made) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return model;
    }
    [[nodiscard]] bitnet::any_session session_of(const bitnet::any_model& model,
                                                 bitnet::session_options options) const {
        options.stop_at_stop_tokens = false;
        options.context = model.parameters().context;
        options.threads = chosen_.threads;
        return must(bitnet::any_session::open(model, options));
    }
    /// On the one pool of threads that all share.
    [[nodiscard]] bitnet::any_session session_on_pool(bitnet::kv_pool* kv) const {
        bitnet::session_options options{.context = model_->parameters().context, .kv = kv};
        options.stop_at_stop_tokens = false;
        return must(bitnet::any_session::open(*model_, *pool_, options));
    }
    [[nodiscard]] static bitnet::kv_pool pool_of(const bitnet::any_model& model, std::size_t pages) {
        const std::uint64_t page = must(model.open_kv_pool(std::uint64_t{1} << 30)).page_bytes();
        return must(model.open_kv_pool(page * pages));
    }
    [[nodiscard]] std::vector<bitnet::token> tokens(std::size_t count, std::uint64_t seed) const {
        return some_tokens(count, vocabulary_, seed);
    }

    /// The chat format of conversations: any will do where the file's own is not known.
    [[nodiscard]] static std::string_view format_of(const bitnet::any_model& model) {
        return model.chat() ? std::string_view() : "bitnet";
    }

    void describe() {
        vocabulary_ = model_->parameters().vocabulary;
        out_.put("model", std::string_view(chosen_.file));
        out_.put("isa", model_->isa());
        out_.put("layout", model_->layout());
        out_.put("threads", std::to_string(chosen_.threads));
    }

    void measure_forks() {
        bitnet::kv_pool kv = pool_of(*model_, 8);
        auto paged = session_on_pool(&kv);
        must(paged.feed(tokens(chosen_.shared, 1)));
        auto copied = session_on_pool(nullptr);
        must(copied.feed(tokens(chosen_.shared, 1)));
        sample shares;
        sample copies;
        for (std::size_t i = 0; i < 1000; ++i) {
            shares.add(1e3 * time_of_fork(paged));
        }
        for (std::size_t i = 0; i < chosen_.rounds; ++i) {
            copies.add(1e3 * time_of_fork(copied));
        }
        out_.put("tokens", chosen_.shared);
        out_.put("forks", shares.size());
        out_.put("median_us", shares.median());
        out_.put("p99_us", shares.at(0.99));
        out_.put("max_us", shares.max());
        out_.put("median_us_without_kv_pool", copies.median());
    }
    static double time_of_fork(bitnet::any_session& session) {
        const auto start = steady::now();
        const auto fork = session.fork();
        const double time = milliseconds_since(start);
        must(fork ? bitnet::result<void>() : bitnet::failed(fork));
        return time;
    }

    /// To a buffer that was written before, and back to a session that held as much. CPU time too, which neighbours
    /// change less.
    void measure_saves() {
        auto from = session_on_pool(nullptr);
        must(from.feed(tokens(chosen_.saved, 2)));
        bitnet::kv_pool kv = pool_of(*model_, chosen_.saved / 256 + 2);
        auto to = session_on_pool(&kv);
        std::vector<std::byte> memory(static_cast<std::size_t>(from.saved_bytes()));
        sample saves;
        sample restores;
        sample saves_cpu;
        sample restores_cpu;
        for (std::size_t i = 0; i <= chosen_.rounds; ++i) {
            bitnet::byte_room room{memory};
            const auto save = timed([&] { must(from.save(room)); });
            const auto restore = timed([&] { must(to.restore(memory)); });
            if (i != 0) { // the first one writes pages for the first time
                saves.add(save.wall);
                restores.add(restore.wall);
                saves_cpu.add(save.cpu);
                restores_cpu.add(restore.cpu);
            }
        }
        const double megabytes = static_cast<double>(memory.size()) / 1e6;
        out_.put("positions", chosen_.saved);
        out_.put("bytes", memory.size());
        out_.put("rounds", saves.size());
        out_.put("save_gb_per_s", megabytes / saves.median());
        out_.put("restore_gb_per_s", megabytes / restores.median());
        out_.put("save_gb_per_cpu_s", megabytes / saves_cpu.median());
        out_.put("restore_gb_per_cpu_s", megabytes / restores_cpu.median());
    }
    struct times {
        double wall;
        double cpu;
    };
    template <class Work> static times timed(Work&& work) {
        const double cpu = cpu_milliseconds();
        const auto start = steady::now();
        work();
        return {milliseconds_since(start), cpu_milliseconds() - cpu};
    }

    /// One long session with memory of its own beside one in pages, in turns.
    void measure_pages() {
        bitnet::kv_pool kv = pool_of(*model_, (chosen_.prompt + 255) / 256);
        auto own = session_on_pool(nullptr);
        auto paged = session_on_pool(&kv);
        const std::size_t written = (std::min)(chosen_.prompt / 4, std::size_t{128});
        const auto prompt = tokens(chosen_.prompt - written, 3);
        constexpr std::size_t chunk = 128;
        sample prompt_ratios;
        for (std::size_t begin = 0; begin + chunk <= prompt.size(); begin += chunk) {
            const auto part = std::span(prompt).subspan(begin, chunk);
            prompt_ratios.add(ratio_of(own, paged, begin / chunk, [&](bitnet::any_session& s) { must(s.feed(part)); }));
        }
        auto greedy = must(bitnet::sampler::open(bitnet::sampler_options::greedy(), vocabulary_));
        sample ratios;
        for (std::size_t i = 0; i < written; ++i) {
            ratios.add(ratio_of(own, paged, i, [&](bitnet::any_session& s) {
                if (!s.next(greedy)) {
                    std::fprintf(stderr, "bench-conversation: no token\n");
                    std::exit(1);
                }
            }));
        }
        out_.put("prompt_tokens", prompt_ratios.size() * chunk);
        out_.put("generated_tokens", ratios.size());
        out_.put("prompt_speed_by_own_memory", prompt_ratios.median());
        out_.put("generation_speed_by_own_memory", ratios.median());
    }
    /// How fast the work is in pages, in multiples of how fast it is in memory of the session's own.
    template <class Work>
    static double ratio_of(bitnet::any_session& own, bitnet::any_session& paged, std::size_t turn, Work&& work) {
        const auto time = [&](bitnet::any_session& session) { return timed([&] { work(session); }).wall; };
        if (turn % 2 == 0) {
            const double of_own = time(own);
            return of_own / time(paged);
        }
        const double of_paged = time(paged);
        return time(own) / of_paged;
    }

    /// At equal distances of the prompt, each time within the chunk that runs.
    void measure_cancelling() {
        const auto prompt = tokens(chosen_.prompt, 4);
        auto session = session_on_pool(nullptr);
        std::atomic<bool> flag{false};
        session.set_cancel_flag(&flag);
        const std::size_t chunk = (std::min)(bitnet::session_options{}.prompt_chunk, prompt.size() / 4);
        const auto start = steady::now();
        must(session.feed(std::span(prompt).first(chunk)));
        const double chunk_time = milliseconds_since(start);
        const std::size_t room = prompt.size() - 3 * chunk;
        sample delays;
        std::uint64_t seed = 5;
        for (std::size_t i = 0; i < chosen_.cancels; ++i) {
            const std::size_t base = chunk + i * room / chosen_.cancels;
            if (session.position() < base) {
                must(session.feed(std::span(prompt).subspan(session.position(), base - session.position())));
            }
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const double after = chunk_time * static_cast<double>(seed >> 40) / static_cast<double>(1u << 24);
            if (const auto delay =
                    time_to_cancel(session, flag, std::span(prompt).subspan(session.position()), after)) {
                delays.add(*delay);
            }
        }
        out_.put("prompt_tokens", prompt.size());
        out_.put("cancels", delays.size());
        out_.put("median_ms", delays.median());
        out_.put("p99_ms", delays.at(0.99));
        out_.put("p99_9_ms", delays.at(0.999));
        out_.put("max_ms", delays.max());
    }
    /// Milliseconds from setting the flag until feed() is back; nothing if it was back before.
    static std::optional<double> time_to_cancel(bitnet::any_session& session, std::atomic<bool>& flag,
                                                std::span<const bitnet::token> prompt, double after) {
        steady::time_point set;
        std::thread other([&] {
            std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(after));
            set = steady::now();
            flag.store(true);
        });
        const auto fed = session.feed(prompt);
        const auto back = steady::now();
        other.join();
        flag.store(false);
        if (fed) {
            return std::nullopt;
        }
        must(fed.error().code == bitnet::errc::cancelled ? bitnet::result<void>() : fed);
        return std::chrono::duration<double, std::milli>(back - set).count();
    }

    void measure_idling() {
        std::vector<bitnet::any_session> sessions;
        std::vector<bitnet::conversation> talks;
        auto greedy = must(bitnet::sampler::open(bitnet::sampler_options::greedy(), vocabulary_));
        for (int i = 0; i < 10; ++i) {
            if (model_->has_text()) {
                talks.push_back(must(bitnet::conversation::open(*model_, {.system = "You live in a castle.",
                                                                          .session = {.threads = chosen_.threads},
                                                                          .chat_format = format_of(*model_),
                                                                          .answer_limit = 4})));
                must(talks.back().say("Who are you?"));
                static_cast<void>(must(talks.back().answer([](std::string_view) {})));
            } else {
                sessions.push_back(session_of(*model_, {}));
                must(sessions.back().feed(tokens(16, 6)));
                static_cast<void>(sessions.back().next(greedy));
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        const std::size_t waits_before = waits();
        const double before = cpu_milliseconds();
        std::this_thread::sleep_for(std::chrono::seconds(chosen_.idle_seconds));
        const double used = cpu_milliseconds() - before;
        const std::size_t waits_of_it = waits() - waits_before;
        out_.put("conversations", talks.size() + sessions.size());
        out_.put("are_conversations", talks.empty() ? 0 : 1);
        out_.put("seconds", chosen_.idle_seconds);
        out_.put("cpu_ms", used);
        out_.put("waits", waits_of_it); // one: for the seconds to go by
    }

    /// What the machine takes from a thread that reads the clock and nothing else, on each core at a time: no step of a
    /// budget can be closer to it than this.
    void measure_machine() {
        constexpr std::chrono::milliseconds window(2);
        std::vector<sample> lost(chosen_.threads);
        std::vector<std::thread> threads;
        for (sample& of : lost) {
            threads.emplace_back([&of, windows = 500 * chosen_.idle_seconds] {
                for (std::size_t i = 0; i < windows; ++i) {
                    of.add(1e3 * milliseconds_lost(window));
                }
            });
        }
        for (std::thread& each : threads) {
            each.join();
        }
        sample all;
        for (const sample& of : lost) {
            all.add(of);
        }
        out_.put("windows_of_2_ms", all.size());
        out_.put("lost_median_us", all.median());
        out_.put("lost_p99_us", all.at(0.99));
        out_.put("lost_p99_9_us", all.at(0.999));
        out_.put("lost_max_us", all.max());
    }
    /// Of the next `window`, the time between readings of the clock that were more than 20 us apart.
    static double milliseconds_lost(std::chrono::milliseconds window) {
        const auto end = steady::now() + window;
        double lost = 0;
        for (auto last = steady::now(); last < end;) {
            const auto now = steady::now();
            const double gap = std::chrono::duration<double, std::milli>(now - last).count();
            lost += gap > 0.02 ? gap : 0;
            last = now;
        }
        return lost;
    }

    /// All memory from a counting source, the file copied too, against what estimate_memory and kv_pool say.
    void measure_shared_prefix() {
        counted_memory counted;
        const bitnet::memory_source source = counted.source();
        const std::uint64_t resident_before = resident_bytes();
        const bitnet::open_options options{.pages = bitnet::page_mode::copied, .memory = &source};
        const bitnet::any_model model = opened(options);
        chosen_.fit(model.parameters().context);
        vocabulary_ = model.parameters().vocabulary;
        const std::uint64_t weights = counted.all();
        const auto estimated = must(bitnet::estimate_memory(std::string_view(chosen_.file), options,
                                                            {.context = model.parameters().context}, chosen_.isa));
        const std::size_t prefix_pages = (chosen_.shared + 255) / 256;
        const std::size_t own_pages = (chosen_.shared + chosen_.own + 255) / 256 - chosen_.shared / 256;
        bitnet::kv_pool kv = pool_of(model, prefix_pages + chosen_.conversations * own_pages);
        auto world = session_of(model, {.kv = &kv});
        must(world.feed(tokens(chosen_.shared, 7)));
        const std::size_t pages_of_prefix = kv.pages() - kv.free_pages();
        const std::uint64_t with_world = counted.all();
        std::vector<bitnet::any_session> all;
        all.reserve(chosen_.conversations);
        sample forks;
        for (std::size_t i = 0; i < chosen_.conversations; ++i) {
            const auto start = steady::now();
            all.push_back(must(world.fork()));
            forks.add(milliseconds_since(start));
        }
        const std::uint64_t with_forks = counted.all();
        for (std::size_t i = 0; i < all.size(); ++i) {
            must(all[i].feed(tokens(chosen_.own, 100 + i)));
        }
        const std::size_t pages_used = kv.pages() - kv.free_pages();
        const std::uint64_t pages = kv.page_bytes() * kv.pages(); // as many as were predicted
        out_.put("conversations", all.size());
        out_.put("shared_tokens", chosen_.shared);
        out_.put("own_tokens", chosen_.own);
        out_.put("page_bytes", kv.page_bytes());
        out_.put("pages_of_prefix", pages_of_prefix);
        out_.put("pages_of_all", pages_used);
        out_.put("pages_predicted", kv.pages());
        out_.put("model_bytes", weights);
        out_.put("model_bytes_predicted", estimated.model());
        out_.put("prefix_bytes", pages_of_prefix * kv.page_bytes());
        out_.put("own_pages_bytes", (pages_used - pages_of_prefix) * kv.page_bytes());
        out_.put("first_session_bytes", with_world - weights - counted.of(bitnet::memory_use::pages));
        out_.put("forks_bytes", with_forks - with_world);
        put_memory(counted.all(), resident_bytes() - resident_before,
                   estimated.model() + estimated.session() - estimated.keys_and_values + pages);
        out_.put("fork_median_ms", forks.median());
        out_.put("fork_max_ms", forks.max());
        if (model.has_text()) {
            measure_conversations(model);
        }
    }
    void put_memory(std::uint64_t counted, std::uint64_t resident, std::uint64_t predicted) {
        out_.put("predicted_bytes", predicted);
        out_.put("counted_bytes", counted);
        out_.put("counted_percent_of_predicted", percent(counted, predicted));
        out_.put("resident_bytes", resident);
        out_.put("resident_percent_of_predicted", percent(resident, predicted));
    }
    static double percent(std::uint64_t of, std::uint64_t whole) {
        return 100 * static_cast<double>(of) / static_cast<double>(whole);
    }

    /// The same openings as conversations, whose system's turn is what they share.
    void measure_conversations(const bitnet::any_model& model) {
        std::string world;
        for (std::vector<bitnet::token> ids; ids.size() + 24 < chosen_.shared; world += "The king had three sons. ") {
            ids.clear();
            must(model.text().encode(world, ids));
        }
        bitnet::kv_pool kv = pool_of(model, chosen_.shared / 256 + 2);
        bitnet::conversation_options options{
            .system = world, .session = {.threads = chosen_.threads, .kv = &kv}, .chat_format = format_of(model)};
        options.session.context = model.parameters().context;
        auto first = must(bitnet::conversation::open(model, options));
        while (first.state() != bitnet::conversation_state::idle) {
            static_cast<void>(must(first.step(std::chrono::seconds(1))));
        }
        std::vector<bitnet::conversation> all;
        all.reserve(chosen_.conversations);
        sample forks;
        for (std::size_t i = 1; i < chosen_.conversations; ++i) {
            const auto start = steady::now();
            all.push_back(must(first.fork(i)));
            forks.add(milliseconds_since(start));
        }
        out_.put("conversation_tokens", first.position());
        out_.put("conversation_fork_median_ms", forks.median());
        out_.put("conversation_fork_max_ms", forks.max());
    }

    settings chosen_;
    report& out_;
    const bitnet::any_model* model_ = nullptr;
    bitnet::thread_pool* pool_ = nullptr;
    std::size_t vocabulary_ = 0;
};

} // namespace

int main(int argc, char** argv) {
    settings chosen;
    tools::options options("bench-conversation", "Measures what many conversations with one model wait for and take.");
    constexpr std::array<std::string_view, 7> parts{"fork", "save",    "pages",        "cancel",
                                                    "idle", "machine", "shared_prefix"};
    constexpr std::size_t most = 1000000;
    options.required("-m", "FILE", chosen.file, "the model, a GGUF file");
    options.text("--isa", "NAME", chosen.isa, "instruction set; none: the best available");
    options.choice("--only", parts, chosen.only, "only this part", "all");
    options.number<std::size_t>("-t", "THREADS", chosen.threads, 1, bitnet::most_threads, "threads");
    options.number<std::size_t>("--conversations", "N", chosen.conversations, 1, most, "with one shared prefix");
    options.number<std::size_t>("--shared", "N", chosen.shared, 1, most, "tokens of the shared prefix");
    options.number<std::size_t>("--own", "N", chosen.own, 1, most, "tokens of each conversation's own");
    options.number<std::size_t>("--saved", "N", chosen.saved, 1, most, "positions of the session that is saved");
    options.number<std::size_t>("--prompt", "N", chosen.prompt, 4, most, "tokens of the long prompt");
    options.number<std::size_t>("--cancels", "N", chosen.cancels, 1, most, "how often that is cancelled");
    options.number<std::size_t>("--rounds", "N", chosen.rounds, 1, most, "saves, and restores");
    options.number<std::size_t>("--idle", "S", chosen.idle_seconds, 1, most, "seconds without work");
    options.flag("--json", chosen.json, "one JSON object at the end, on one line");
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    report out;
    out.open();
    bench(chosen, out).run();
    const std::string& json = out.close();
    if (chosen.json) {
        std::printf("%s\n", json.c_str());
    }
    return 0;
}
