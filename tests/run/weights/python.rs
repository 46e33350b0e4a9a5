//! Python reads what is written here, with the packages that it has: `numpy`, `safetensors`, `torch`.
//!
//! It is the Python that the variable `DAGRAD_PYTHON` names, or else `python3`; a package that it lacks is not asked.

use std::process::Command;

use super::layers::model;
use super::{Folder, golden};

/// Runs a program with arguments if the packages are there; whether they are.
fn python(packages: &str, program: &str, folder: &Folder) -> bool {
    let python = std::env::var("DAGRAD_PYTHON").unwrap_or("python3".to_owned());
    let run =
        |program: &str| Command::new(&python).args(["-c", program]).arg(&folder.0).arg(golden("")).output();
    if !run(&format!("import {packages}")).is_ok_and(|output| output.status.success()) {
        println!("{python} lacks {packages}: not asked");
        return false;
    }
    let output = run(program).unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}", text.join("\n"));
    print!("{}", text[0]);
    true
}

const NUMPY: &str = r#"
import sys, pathlib, numpy
own, golden = map(pathlib.Path, sys.argv[1:])
a, b = numpy.load(own / "net.npz"), numpy.load(golden / "layers.npz")
assert set(a.files) == set(b.files), a.files
for name in b.files:
    counts = name.endswith("num_batches_tracked")
    assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
    assert a[name].flags.c_contiguous and (counts or (a[name] == b[name]).all()), name
print("NumPy", numpy.__version__, "reads", len(a.files), "arrays")
"#;

const SAFETENSORS: &str = r#"
import sys, pathlib, numpy, safetensors.numpy
own, golden = map(pathlib.Path, sys.argv[1:])
a, b = safetensors.numpy.load_file(own / "net.safetensors"), safetensors.numpy.load_file(golden / "layers.safetensors")
assert set(a) == set(b), a.keys()
for name in b:
    assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
    assert name.endswith("num_batches_tracked") or (a[name] == b[name]).all(), name
with safetensors.safe_open(own / "net.safetensors", "numpy") as f:
    assert f.metadata() == {"format": "pt"}, f.metadata()
print("safetensors", safetensors.__version__, "reads", len(a), "arrays")
"#;

const TORCH: &str = r#"
import sys, pathlib, types, torch, safetensors.torch
own, golden = map(pathlib.Path, sys.argv[1:])
source = (golden / "make.py").read_text().replace("\nlayers()\npytorch_types()\nnumpy_types()\nnumpy_small()\nsurroundings()\n", "")
make = types.ModuleType("make"); make.__file__ = str(golden / "make.py"); exec(source, make.__dict__)
net = make.Layers()
net.load_state_dict(safetensors.torch.load_file(own / "net.safetensors"), strict=True)
case = safetensors.torch.load_file(golden / "layers-logits.safetensors")
with torch.no_grad():
    logits = net.eval()(case["images"])
error = (logits - case["logits"]).abs().max() / case["logits"].abs().max()
assert error <= 1e-5, error
assert net.bn1.num_batches_tracked == 5 and net.bn1.num_batches_tracked.shape == ()
print("PyTorch", torch.__version__, "takes the state dict, logits within", float(error))
"#;

#[test]
fn python_reads_what_is_written() {
    let folder = Folder::new("python");
    let mut model = model();
    model.load(golden("layers.safetensors")).unwrap();
    model.store_mut().set_step(5);
    for name in ["net.safetensors", "net.npz"] {
        model.save(folder.file(name)).unwrap();
    }
    let asked = [
        python("numpy", NUMPY, &folder),
        python("numpy, safetensors", SAFETENSORS, &folder),
        python("torch, numpy, safetensors.torch", TORCH, &folder),
    ];
    // In CI, .ci/run brings the first two.
    assert!(std::env::var("DAGRAD_PYTHON").is_err() || asked[0] && asked[1], "{asked:?}");
}
