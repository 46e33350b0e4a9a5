//! Chains of elementwise functions as kernels run them.

use dagrad::compile::Chain;
use dagrad::graph::dag::NodeId;
use dagrad::kernels::elementwise::{Argument, Function, Target};

#[test]
fn slow_functions_come_early_and_what_does_not_wait_for_them_follows() {
    use Argument::{Operand, Register};
    let code = vec![
        (Function::Subtract, [Operand(0), Operand(1)]),
        (Function::Multiply, [Operand(1), Operand(1)]),
        (Function::Sqrt, [Register(1), Register(1)]),
        (Function::Divide, [Register(0), Register(2)]),
    ];
    let chain = Chain { code, operands: [0, 1].map(|node| (NodeId::new(node), None)).to_vec() };
    let finished = chain.finish(&[3, 0]);
    let functions: Vec<Function> = finished.code.iter().map(|step| step.function).collect();
    assert_eq!(functions, [Function::Multiply, Function::Sqrt, Function::Subtract, Function::Divide]);
    let targets: Vec<Target> = finished.code.iter().map(|step| step.target).collect();
    let [inner, root] = [0, 1].map(Target::Register);
    assert_eq!(targets, [inner, root, Target::Result(1), Target::Result(0)]);
    let read: Vec<Argument> = finished.code.iter().map(|step| step.terms[0].value).collect();
    assert_eq!(read, [Operand(1), Register(0), Operand(0), Argument::Result(1)]);
}
