//! The numbers that describe a machine: how much work makes a task, what should stay in a cache, and from where on a
//! kernel pays. They were chosen by measuring networks. A machine with other caches may want others; then this table
//! changes, and nothing else. The sizes of tiles stand beside the tiles, because each size is a function.
//!
//! Numbers marked **order** decide in which order a sum is added up. Other values change the last digits of results, still
//! the same for any number of threads and every instruction set.

/// Declares numbers, each with what it trades.
macro_rules! numbers {
    ($($name:ident = $value:expr, $what:literal;)*) => { $(#[doc = $what] pub const $name: usize = $value;)* };
}

numbers! {
    // Registers. How many rows a tile of sums has at most, where it is two registers wide. More rows keep the multipliers
    // busy, and are more functions to compile.
    AVX512_TILE_ROWS = 8, "AVX-512, of whose 32 registers 16 hold sums.";
    AVX2_TILE_ROWS = 6, "AVX2, of whose 16 registers 12 hold sums. The others hold what a step reads.";
    NEON_TILE_ROWS = 8, "NEON, of whose 32 registers 16 hold sums.";
    PORTABLE_TILE_ROWS = 2, "Other machines: few tiles, quickly compiled.";
    F64_TILE_ROWS = 2, "`f64` on every machine. Gradients are checked in it, and few tiles do.";
    NARROW_ROWS = 4, "From so many rows on there are tiles for images of one to three channels. Others treat them as images of many.";

    // Threads.
    SPINS = 20_000, "How often an idle thread looks for work before it sleeps: some tens to hundreds of microseconds.";
    SPINS_CROWDED = 100, "The same where threads outnumber cores, and spinning would keep another from working.";
    SCRATCH_BYTES = 12 << 20, "How many bytes of scratch a convolution's task may take. Sizes that need more get another kernel.";

    // Matrix products.
    GEMM_TASK_PRODUCTS = 1 << 16, "How many multiplications make a task worth handing to another thread.";
    GEMM_TASKS = 16, "How many tasks there are at most. More only cost time.";
    GEMM_TASK_PANELS = 6, "How many panels of B a task packs at most.";
    GEMM_IN_PLACE_ROWS = 48, "How many rows a task has at least if B is read in place.";
    GEMM_PACKED_ROWS = 96, "How many rows a task has at least if it packs B for itself.";
    GEMM_IN_PLACE_COLUMNS = 512, "How many columns B has at most where it is read in place. The rows of a wider one lie too far apart.";
    GEMM_STEPS = 576, "How many steps of the inner dimension a tile does at a time, so that what it reads stays in the first-level cache (**order**).";
    GEMM_PARTS = 8, "How many parts the inner dimension is cut into at most, where there are few results (**order**).";
    GEMM_PART_STEPS = 256, "How many steps of the inner dimension a part has at least (**order**).";
    GEMM_TASK_SUMS = 1 << 14, "How many numbers one task adds up at least, where parts are added up.";
    DOT_TASK_NUMBERS = 1 << 14, "How many numbers of the matrix make a task of dot products.";
    DOT_BLOCK = 1 << 14, "How many products are added up before they join the sums of the blocks before: about as many as a long dot product has blocks (**order**).";
    DOT_TASKS = 64, "How many tasks of dot products there are at most. More only cost time.";

    // Direct convolution, forward and gradient in the image.
    STRIP_BYTES = 1 << 18, "How many bytes a strip should take, so that it stays in the second-level cache.";
    LONG_SUM = 1 << 12, "How many products of a convolution make one chain of sums. Longer ones are computed in parts (**order**).";
    CONV_TASKS = 16, "How many tasks there should be, in all directions, if they have enough to do.";
    CONV_TASK_PRODUCTS = 1 << 17, "How many multiplications make a task worth handing to another thread.";
    SPREAD_FILTERS = 4, "Up to so many filters of a group share registers with those of other groups.";
    PACKED_TAPS = 1 << 12, "How many taps are packed at a time.";

    // Direct convolution, gradient in the weights.
    GRAD_STRIP_BYTES = 1 << 19, "How many bytes the strips of a task should take, so that they stay in the second-level cache (**order**).";
    GRAD_POSITIONS = 1 << 10, "How many positions are worth loading and storing a tile's sums for (**order**).";
    GRAD_SUMS_BYTES = 1 << 11, "One position more is wanted for so many bytes of sums (**order**).";
    GRAD_PACKING_TILES = 6, "From so many tiles on, the upstream of their filters is worth packing.";
    GRAD_TASK_PRODUCTS = 1 << 18, "How many multiplications make a task worth handing to another thread.";
    GRAD_TASK_FILTERS = 1 << 8, "How many filters are added up and transposed at a time at most.";
    GRAD_TASK_NUMBERS = 1 << 14, "How many numbers are added up and transposed at a time at most.";

    // Winograd's convolution.
    WINOGRAD_CHANNELS = 8, "From so many channels and filters on, the transforms pay.";
    WINOGRAD_POSITIONS = 4096, "And from so many output positions of the batch on: in sums of few terms rounding errors stand out, and little is gained.";
    WINOGRAD_BLOCK_BYTES = 1 << 18, "How many bytes the points of a block's image may take, so that they stay in the second-level cache.";
    WINOGRAD_LEAST_TILES = 28, "How many tiles a block has at least, unless there are fewer: with fewer, reading the weights does not pay.";
    WINOGRAD_MOST_TILES = 56, "How many tiles a block has at most.";
    WINOGRAD_SEGMENT = 8, "How many tiles are transformed at a time at most, so that their lines stay in the first-level cache.";
    WINOGRAD_TASK_CHANNELS = 16, "How many channels of filters are transformed in one task.";
    WINOGRAD_PREFETCH = 16, "How many steps ahead weights are prefetched.";
    WINOGRAD_GRAD_SUMS_BYTES = 5 << 18, "How many bytes a task's sums may take in the gradient in the weights, to stay in the second-level cache (**order**).";
    WINOGRAD_GRAD_BLOCK_BYTES = 1 << 19, "How many bytes the points of a block may take there, for image and upstream together (**order**).";
    WINOGRAD_GRAD_MANY_TILES = 512, "From so many tiles of a row on, more tasks are worth transforming the upstream once more in each.";
    WINOGRAD_GRAD_MOST_TILES = 56, "How many tiles a block has at most there (**order**).";

    // Pools.
    POOL_BLOCK = 512, "How many windows of a maximum pool NCHW are compared side by side at most.";
    POOL_TASK = 1 << 13, "How many outputs of a maximum pool NHWC make a task.";
    AVERAGE_TILE = 256, "How many neighbouring means of a row are computed at once at most.";
    AVERAGE_PIXELS = 1 << 12, "Means of more pixels than these are added up in double precision.";
    AVERAGE_COLUMNS = 8, "In rows with fewer outputs than these, each mean is computed by itself.";

    // Everything else.
    ELEMENTWISE_TILE = 2048, "For how many elements an operand that is read along a walk is copied at a time.";
    ELEMENTWISE_TASK = 8 * ELEMENTWISE_TILE, "How many elements of an elementwise program make a task.";
    ELEMENTWISE_PREFETCH = 256, "How many elements ahead of a block its steps prefetch.";
    SUM_TASK = 1 << 14, "How many elements of its input a task of a sum reads at least (**order**).";
    SUM_LINE = 16, "How many neighbouring sums a task has at least, so that it reads whole lines of the cache (**order**).";
    SUM_COLUMNS = 1024, "How many neighbouring sums are accumulated side by side at most (**order**).";
    SUM_LANES = 64, "How many numbers are accumulated side by side at least, where rows are shorter (**order**).";
    SUM_FEW = 16, "How many numbers are added in the precision of the data before the sum goes on in `f64` (**order**).";
    GATHER_TASK = 1 << 12, "How many elements a task reads or writes at least along an axis at given indices.";
    COPY_TASK = 1 << 14, "How many elements a task copies at least: slices, padding, and arrays read along a walk.";
    MASK_TASK = 1 << 12, "How many elements of a mask make a task. Each starts the generator anew.";
    SOFTMAX_TASK = 2048, "How many elements of a softmax a task takes at least.";
}
