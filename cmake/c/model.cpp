// SPDX-License-Identifier: MIT
// Models, their pages, and what is the same in all of bitnet.h.
#include "handles.hpp"

#include <new>
#include <vector>

namespace bitnet_c {

std::int32_t code_of(bitnet::errc code) noexcept {
    using bitnet::errc;
    switch (code) {
    case errc::file_not_found:
    case errc::not_a_file:
        return BITNET_E_NOT_FOUND;
    case errc::io_error:
        return BITNET_E_IO;
    case errc::out_of_memory:
        return BITNET_E_MEMORY;
    case errc::unsupported_cpu:
    case errc::thread_error:
    case errc::broken_kernel:
        return BITNET_E_MACHINE;
    case errc::truncated:
    case errc::bad_magic:
    case errc::bad_version:
    case errc::bad_checksum:
    case errc::bad_count:
    case errc::bad_key:
    case errc::duplicate_key:
    case errc::bad_value:
    case errc::bad_alignment:
    case errc::bad_tensor_name:
    case errc::duplicate_tensor:
    case errc::bad_shape:
    case errc::bad_offset:
    case errc::bad_scale:
    case errc::bad_code:
    case errc::bad_json:
    case errc::bad_utf8:
    case errc::bad_file_name:
    case errc::inconsistent:
        return BITNET_E_FILE;
    case errc::unsupported_type:
    case errc::unsupported_architecture:
    case errc::missing_key:
    case errc::wrong_type:
    case errc::out_of_range:
    case errc::missing_tensor:
    case errc::wrong_shape:
    case errc::wrong_layout:
    case errc::bad_vocabulary:
    case errc::unknown_pre_tokenizer:
    case errc::unsupported_tokenizer:
    case errc::unknown_chat_template:
        return BITNET_E_MODEL;
    case errc::wrong_model:
        return BITNET_E_WRONG_MODEL;
    case errc::bad_grammar:
    case errc::bad_schema:
    case errc::unsupported_schema:
    case errc::empty_language:
    case errc::grammar_budget:
        return BITNET_E_GRAMMAR;
    case errc::no_token_left:
        return BITNET_E_NO_TOKEN;
    case errc::invalid_argument:
    case errc::invalid_token:
    case errc::nothing_fed:
        return BITNET_E_ARGUMENT;
    case errc::context_full:
        return BITNET_E_CONTEXT_FULL;
    case errc::kv_pool_full:
        return BITNET_E_PAGES_FULL;
    case errc::no_lm_head:
        return BITNET_E_NO_HEAD;
    case errc::cancelled:
        return BITNET_E_CANCELLED;
    }
    return BITNET_E_ARGUMENT;
}

void put_message(std::string_view text, char* message, std::uint32_t capacity) noexcept {
    if (message == nullptr || capacity == 0) {
        return;
    }
    std::size_t size = (std::min)(text.size(), std::size_t{capacity} - 1);
    while (size != 0 && size < text.size() && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) {
        --size; // whole characters
    }
    std::memcpy(message, text.data(), size);
    message[size] = '\0';
}

bitnet::sampler_options sampling_of(const bitnet_sampling& given, const bitnet::any_model& model) noexcept {
    const bitnet::sampler_options advised = bitnet::sampler_options::advised_by(model.sampling());
    const auto is_advised = [&](bool is_open) { return given.is_advised == 1 || (given.is_advised == 2 && is_open); };
    bitnet::sampler_options options;
    options.temperature = is_advised(given.temperature < 0) ? advised.temperature : given.temperature;
    options.top_k = is_advised(given.top_k == UINT32_MAX) ? advised.top_k : given.top_k;
    options.top_p = is_advised(given.top_p < 0) ? advised.top_p : given.top_p;
    options.min_p = is_advised(given.min_p < 0) ? advised.min_p : given.min_p;
    options.typical_p = given.typical_p;
    options.repeat_penalty = given.repeat_penalty;
    options.presence_penalty = given.presence_penalty;
    options.frequency_penalty = given.frequency_penalty;
    options.penalty_window = given.penalty_window;
    options.seed = given.seed;
    return options;
}

namespace {

bitnet::open_options options_of(const bitnet_model_options& given, model_state& state) noexcept {
    bitnet::open_options options;
    if (given.threads != 0) {
        options.threads = given.threads;
    }
    options.pages = given.pages == BITNET_PAGES_MAPPED   ? bitnet::page_mode::mapped
                    : given.pages == BITNET_PAGES_COPIED ? bitnet::page_mode::copied
                                                         : bitnet::page_mode::automatic;
    options.lm_head = given.head == BITNET_HEAD_AS_STORED  ? bitnet::lm_head_mode::as_stored
                      : given.head == BITNET_HEAD_SCREENED ? bitnet::lm_head_mode::screened
                                                           : bitnet::lm_head_mode::automatic;
    if (given.allocate != nullptr) {
        state.allocate = given.allocate;
        state.release = given.release;
        state.memory = given.memory;
        state.source = {[](void* self, std::size_t bytes, std::size_t alignment, bitnet::memory_hint) noexcept {
                            auto& of = *static_cast<model_state*>(self);
                            return of.allocate(of.memory, bytes, alignment);
                        },
                        [](void* self, void* block, std::size_t bytes, std::size_t alignment) noexcept {
                            auto& of = *static_cast<model_state*>(self);
                            of.release(of.memory, block, bytes, alignment);
                        },
                        &state};
        options.memory = &state.source;
    }
    return options;
}

/// The host's progress function, which a pointer alone cannot hold.
struct told_progress {
    std::int32_t (*function)(void*, std::uint64_t, std::uint64_t);
    void* context;

    [[nodiscard]] bitnet::open_progress face() noexcept {
        return {[](void* self, std::uint64_t done, std::uint64_t all) noexcept {
                    const auto& of = *static_cast<told_progress*>(self);
                    return of.function(of.context, done, all) != 0;
                },
                this};
    }
};

[[nodiscard]] std::optional<std::string_view> check(const bitnet_model_options& given) noexcept {
    if (given.pages < BITNET_PAGES_AUTOMATIC || given.pages > BITNET_PAGES_COPIED) {
        return "bitnet_model_options: pages is none of BITNET_PAGES_...";
    }
    if (given.head < BITNET_HEAD_AUTOMATIC || given.head > BITNET_HEAD_SCREENED) {
        return "bitnet_model_options: head is none of BITNET_HEAD_...";
    }
    if ((given.allocate == nullptr) != (given.release == nullptr)) {
        return "bitnet_model_options: one of allocate and release was given, both are needed";
    }
    return check_jobs(given.jobs);
}

/// Opens by open(options, isa), which returns a result<any_model>.
template <class Open>
std::int32_t open_model(const bitnet_model_options* given, bitnet_model** out, char* message, std::uint32_t capacity,
                        Open&& open) noexcept {
    if (out == nullptr) {
        return fail("bitnet_model: nowhere to put it, `model` is null", message, capacity);
    }
    *out = nullptr;
    bitnet_model_options chosen{};
    if (const auto wrong = take(given, chosen)) {
        return fail(*wrong, message, capacity);
    }
    if (const auto wrong = check(chosen)) {
        return fail(*wrong, message, capacity);
    }
    auto made_state = bitnet::detail::guarded([&]() -> bitnet::result<std::shared_ptr<model_state>> {
        auto state = std::make_shared<model_state>();
        auto options = options_of(chosen, *state);
        const auto jobs = jobs_of(chosen.jobs);
        if (jobs != nullptr) {
            options.pool = *jobs;
        }
        told_progress progress{chosen.progress, chosen.progress_context};
        if (chosen.progress != nullptr) {
            options.progress = progress.face();
        }
        auto opened = open(options, view(chosen.isa));
        if (!opened) {
            return bitnet::failed(opened);
        }
        state->model.emplace(*std::move(opened));
        state->isa = state->model->isa();
        state->layout = state->model->layout();
        return state;
    });
    if (!made_state) {
        return fail(made_state.error(), message, capacity);
    }
    *out = made<bitnet_model>(*std::move(made_state));
    return *out != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

} // namespace

} // namespace bitnet_c

using namespace bitnet_c;

extern "C" {

int32_t bitnet_c_version(void) { return BITNET_C_VERSION; }

#define BITNET_TEXT_OF(number) #number
#define BITNET_TEXT(number) BITNET_TEXT_OF(number)
const char* bitnet_version_string(void) {
    return BITNET_TEXT(BITNET_VERSION_MAJOR) "." BITNET_TEXT(BITNET_VERSION_MINOR) "." BITNET_TEXT(
        BITNET_VERSION_PATCH);
}

const char* bitnet_code_name(int32_t code) {
    constexpr const char* names[] = {"BITNET_OK",         "BITNET_E_ARGUMENT",     "BITNET_E_NOT_FOUND",
                                     "BITNET_E_IO",       "BITNET_E_MEMORY",       "BITNET_E_MACHINE",
                                     "BITNET_E_FILE",     "BITNET_E_MODEL",        "BITNET_E_WRONG_MODEL",
                                     "BITNET_E_GRAMMAR",  "BITNET_E_CONTEXT_FULL", "BITNET_E_PAGES_FULL",
                                     "BITNET_E_NO_TOKEN", "BITNET_E_NO_HEAD",      "BITNET_E_CANCELLED",
                                     "BITNET_E_TOO_SMALL"};
    return code <= 0 && code > -static_cast<int32_t>(std::size(names)) ? names[-code] : "unknown";
}

int32_t bitnet_model_options_init(bitnet_model_options* options) { return initialise(options); }

int32_t bitnet_sampling_init(bitnet_sampling* sampling) {
    if (const int32_t code = initialise(sampling); code != BITNET_OK) {
        return code;
    }
    const bitnet::sampler_options defaults;
    sampling->is_advised = 1;
    sampling->temperature = defaults.temperature;
    sampling->top_p = defaults.top_p;
    sampling->min_p = defaults.min_p;
    sampling->typical_p = defaults.typical_p;
    sampling->repeat_penalty = defaults.repeat_penalty;
    sampling->presence_penalty = defaults.presence_penalty;
    sampling->frequency_penalty = defaults.frequency_penalty;
    sampling->top_k = counted(defaults.top_k);
    sampling->penalty_window = counted(defaults.penalty_window);
    return BITNET_OK;
}

int32_t bitnet_model_open(const char* path, int64_t path_bytes, const bitnet_model_options* options,
                          bitnet_model** model, char* message, uint32_t capacity) {
    const auto name = view(path, path_bytes);
    if (path == nullptr || !name) {
        return fail("bitnet_model_open: there is no path", message, capacity);
    }
    return open_model(options, model, message, capacity, [&](const bitnet::open_options& chosen, std::string_view isa) {
        return bitnet::any_model::open(*name, chosen, isa);
    });
}

int32_t bitnet_model_open_memory(const void* data, uint64_t bytes, const bitnet_model_options* options,
                                 bitnet_model** model, char* message, uint32_t capacity) {
    if ((data == nullptr && bytes != 0) || bytes > PTRDIFF_MAX) {
        return fail("bitnet_model_open_memory: there is no memory of so many bytes", message, capacity);
    }
    return open_model(options, model, message, capacity, [&](const bitnet::open_options& chosen, std::string_view isa) {
        const std::span all(static_cast<const std::byte*>(data), clamped(bytes));
        return bitnet::any_model::open(bitnet::byte_source::borrow(all, "model in memory"), chosen, isa);
    });
}

int32_t bitnet_model_open_callback(int32_t (*read)(void*, uint64_t, void*, uint64_t), void* context, uint64_t bytes,
                                   const bitnet_model_options* options, bitnet_model** model, char* message,
                                   uint32_t capacity) {
    if (read == nullptr) {
        return fail("bitnet_model_open_callback: `read` is null", message, capacity);
    }
    struct reader {
        int32_t (*read)(void*, uint64_t, void*, uint64_t);
        void* context;
    } host{read, context};
    return open_model(
        options, model, message, capacity,
        [&](const bitnet::open_options& chosen, std::string_view isa) -> bitnet::result<bitnet::any_model> {
            const bitnet::read_callback callback{[](void* self, std::uint64_t offset, std::span<std::byte> out) {
                                                     const auto& of = *static_cast<reader*>(self);
                                                     return of.read(of.context, offset, out.data(), out.size()) != 0;
                                                 },
                                                 &host};
            auto source = bitnet::byte_source::from_callback(callback, bytes, "model that is read", chosen.memory);
            return source ? bitnet::any_model::open(*std::move(source), chosen, isa) : bitnet::failed(source);
        });
}

void bitnet_model_close(bitnet_model* model) { delete model; }

int32_t bitnet_model_get_info(const bitnet_model* model, bitnet_model_info* info) {
    if (model == nullptr || info == nullptr || info->struct_size < sizeof(uint32_t)) {
        return BITNET_E_ARGUMENT;
    }
    const bitnet::any_model& of = *model->state->model;
    const bitnet::hyper_parameters& has = of.parameters();
    const bitnet_model_info all{.struct_size = info->struct_size,
                                .vocabulary = counted(has.vocabulary),
                                .context = counted(has.context),
                                .layers = counted(has.layers),
                                .hidden = counted(has.hidden),
                                .is_embedder = has.is_embedder ? 1 : 0,
                                .screen = static_cast<int32_t>(of.head_screen()),
                                .notes = counted(of.notes().size()),
                                .isa = model->state->isa.c_str(),
                                .layout = model->state->layout.c_str()};
    std::memcpy(info, &all, (std::min)(std::size_t{info->struct_size}, sizeof all));
    return BITNET_OK;
}

int32_t bitnet_model_note(const bitnet_model* model, uint32_t index, const char** text, uint64_t* bytes) {
    if (model == nullptr || index >= model->state->model->notes().size()) {
        return BITNET_E_ARGUMENT;
    }
    give(model->state->model->notes()[index], text, bytes);
    return BITNET_OK;
}

int32_t bitnet_model_tokenize(const bitnet_model* model, const char* text, int64_t bytes, int32_t with_special,
                              int32_t* tokens, uint32_t capacity, uint32_t* needed) {
    const auto given = view(text, bytes);
    if (model == nullptr || !given || (tokens == nullptr && capacity != 0)) {
        return BITNET_E_ARGUMENT;
    }
    const auto encoded = model->state->model->text().encode(*given, {.parse_special = with_special != 0});
    if (!encoded) {
        return code_of(encoded.error().code);
    }
    std::copy_n(encoded->begin(), (std::min)(encoded->size(), std::size_t{capacity}), tokens);
    if (needed != nullptr) {
        *needed = counted(encoded->size());
    }
    return encoded->size() <= capacity ? BITNET_OK : BITNET_E_TOO_SMALL;
}

int32_t bitnet_model_detokenize(const bitnet_model* model, const int32_t* tokens, uint32_t count, char* text,
                                uint32_t capacity, uint32_t* needed) {
    if (model == nullptr || (tokens == nullptr && count != 0) || (text == nullptr && capacity != 0)) {
        return BITNET_E_ARGUMENT;
    }
    const bitnet::tokenizer& with = model->state->model->text();
    const std::span<const bitnet::token> all(tokens, count);
    if (!std::all_of(all.begin(), all.end(), [&](bitnet::token id) { return with.contains(id); })) {
        return BITNET_E_ARGUMENT;
    }
    std::string decoded;
    if (!bitnet::detail::has_memory_for([&] { decoded = with.decode(all); })) {
        return BITNET_E_MEMORY;
    }
    std::copy_n(decoded.begin(), (std::min)(decoded.size(), std::size_t{capacity}), text);
    if (needed != nullptr) {
        *needed = counted(decoded.size());
    }
    return decoded.size() <= capacity ? BITNET_OK : BITNET_E_TOO_SMALL;
}

int32_t bitnet_estimate_memory(const char* path, int64_t path_bytes, const bitnet_model_options* options,
                               uint32_t context, bitnet_memory* memory, char* message, uint32_t capacity) {
    const auto name = view(path, path_bytes);
    if (path == nullptr || !name || memory == nullptr || memory->struct_size < sizeof(uint32_t)) {
        return fail("bitnet_estimate_memory: there is no path, or no bitnet_memory with its struct_size", message,
                    capacity);
    }
    bitnet_model_options chosen{};
    if (const auto wrong = take(options, chosen)) {
        return fail(*wrong, message, capacity);
    }
    if (const auto wrong = check(chosen)) {
        return fail(*wrong, message, capacity);
    }
    model_state unused;
    bitnet::session_options of_session;
    of_session.context = context;
    const auto estimated = bitnet::estimate_memory(*name, options_of(chosen, unused), of_session, view(chosen.isa));
    if (!estimated) {
        return fail(estimated.error(), message, capacity);
    }
    const bitnet_memory all{.struct_size = memory->struct_size,
                            .reserved = 0,
                            .mapped = estimated->mapped,
                            .model = estimated->model(),
                            .session = estimated->session()};
    std::memcpy(memory, &all, (std::min)(std::size_t{memory->struct_size}, sizeof all));
    return BITNET_OK;
}

int32_t bitnet_pages_open(bitnet_model* model, uint64_t bytes, bitnet_pages** pages, char* message, uint32_t capacity) {
    if (model == nullptr || pages == nullptr) {
        return fail("bitnet_pages_open: there is no model, or nowhere to put the pages", message, capacity);
    }
    *pages = nullptr;
    auto opened = bitnet::detail::guarded([&]() -> bitnet::result<std::shared_ptr<bitnet::kv_pool>> {
        auto pool = model->state->model->open_kv_pool(bytes);
        if (!pool) {
            return bitnet::failed(pool);
        }
        return std::make_shared<bitnet::kv_pool>(*std::move(pool));
    });
    if (!opened) {
        return fail(opened.error(), message, capacity);
    }
    *pages = made<bitnet_pages>(model->state, *std::move(opened));
    return *pages != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

void bitnet_pages_close(bitnet_pages* pages) { delete pages; }

} // extern "C"
