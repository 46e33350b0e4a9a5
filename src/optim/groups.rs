//! Groups of parameters, each with an optimizer of its own.

use std::fmt;

use super::{LearningRate, Optimizer};
use crate::error::{OpError, Problem, SourceLine, nearest};
use crate::graph::{Graph, Var};

/// Groups of parameters by their names, each moved by an optimizer with its own rate and decay (PyTorch's `param_groups`). It
/// is an optimizer itself: [`clip_norm`](Optimizer::clip_norm), for example, clips the norm over all groups together.
///
/// In a pattern `*` matches any characters, including none: `backbone.*`, `*.bias`, `*norm*`. A parameter belongs to the first
/// group whose pattern matches its name. One that no pattern matches belongs to the optimizer given to [`new`](Self::new).
///
/// ```
/// use dagrad::optim::{Adam, AdamW, Groups, Optimizer, minimize};
/// use dagrad::{Graph, nn};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [4, 3]);
/// let h = nn::linear(nn::linear(x, "backbone.fc1", 5).relu(), "backbone.fc2", 5).relu();
/// let loss = nn::linear(h, "head", 1).powi(2).mean_all();
///
/// let rule = Groups::new(AdamW::new(1e-3))
///     .frozen("backbone.fc1.*") // stays as it is
///     .group("backbone.*", AdamW::new(1e-4))
///     .group("*.bias", Adam::new(1e-3)) // of the rest, without weight decay
///     .clip_norm(1.0);
/// minimize(loss, &rule)?;
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// A pattern that matches no parameter of the graph, or only parameters of earlier groups, is an error of
/// [`minimize`](super::minimize) and of whatever calls it.
///
/// Two losses over different parameters, as those of a GAN, are two calls of `minimize` on one graph, each with the other's
/// parameters frozen.
pub struct Groups {
    groups: Vec<Group>,
    rest: Rule,
}

type Rule = Box<dyn Optimizer + Send + Sync>;

struct Group {
    pattern: String,
    /// None: its parameters stay as they are.
    rule: Option<Rule>,
    /// Where the user asked for it.
    site: SourceLine,
}

impl Groups {
    /// One optimizer moves all parameters, but for those of the groups that are added.
    pub fn new(rest: impl Optimizer + Send + Sync + 'static) -> Self {
        Self { groups: Vec::new(), rest: Box::new(rest) }
    }

    /// Gives the parameters whose names match a pattern, and no earlier one, to an optimizer.
    #[track_caller]
    pub fn group(self, pattern: &str, optimizer: impl Optimizer + Send + Sync + 'static) -> Self {
        self.with(pattern, Some(Box::new(optimizer)), SourceLine::caller())
    }

    /// Leaves the parameters whose names match a pattern, and no earlier one, as they are. No gradient is taken in them, and
    /// the loss need not reach them. Running statistics are state, not parameters, and still move. To keep them, too, record
    /// those layers in [`Graph::in_mode`] for evaluation.
    #[track_caller]
    pub fn frozen(self, pattern: &str) -> Self {
        self.with(pattern, None, SourceLine::caller())
    }

    fn with(mut self, pattern: &str, rule: Option<Rule>, site: SourceLine) -> Self {
        self.groups.push(Group { pattern: pattern.to_owned(), rule, site });
        self
    }

    /// Which of these parameters is in which group: a line for each group, with its pattern and the names.
    ///
    /// ```
    /// use dagrad::nn::{Model, SimpleConvNet};
    /// use dagrad::optim::{Groups, Sgd};
    ///
    /// let model = Model::new(SimpleConvNet::default(), [1, 28, 28], 0)?;
    /// let rule = Groups::new(Sgd::new(0.1)).frozen("W1").group("b*", Sgd::new(0.2));
    /// let listing = "W1 (frozen): W1\nb*: b1, b2, b3\nthe others: W2, W3\n";
    /// assert_eq!(rule.listing(model.store().trainable()), listing);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn listing<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> String {
        let mut members = vec![Vec::new(); self.groups.len() + 1];
        for name in names {
            members[self.group_of(name).unwrap_or(self.groups.len())].push(name);
        }
        let heading = |group: &Group| {
            format!("{}{}", group.pattern, if group.rule.is_some() { "" } else { " (frozen)" })
        };
        let headings = self.groups.iter().map(heading).chain(["the others".to_string()]);
        headings.zip(members).map(|(heading, names)| format!("{heading}: {}\n", names.join(", "))).collect()
    }

    /// The group that a parameter belongs to, by its number; none for the rest.
    fn group_of(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| matches(&group.pattern, name))
    }

    fn rule_of(&self, group: Option<usize>) -> Option<&Rule> {
        group.map_or(Some(&self.rest), |number| self.groups[number].rule.as_ref())
    }

    /// What is wrong with a group, given the names of all parameters and of all state.
    fn problem(&self, number: usize, names: &[String], state: &[String]) -> Option<Problem> {
        let pattern = &self.groups[number].pattern;
        let is_parameter = names.iter().any(|name| matches(pattern, name));
        if let Some(state) = state.iter().find(|name| !is_parameter && matches(pattern, name)) {
            let text = format!("{pattern:?} matches no parameter, only state such as {state:?}");
            return Some(Problem::new(text).hint(
                "no optimizer moves state; layers recorded in `Graph::in_mode` for evaluation keep running statistics",
            ));
        }
        let Some(matching) = names.iter().find(|name| matches(pattern, name)) else {
            let nearest = nearest(pattern, names.iter().map(String::as_str));
            return Some(Problem::new(format!("{pattern:?} matches no parameter{nearest}")));
        };
        if names.iter().any(|name| self.group_of(name) == Some(number)) {
            return None;
        }
        let earlier = self.group_of(matching).map_or("", |earlier| &self.groups[earlier].pattern);
        let text =
            format!("what {pattern:?} matches, such as {matching:?}, belongs to the earlier {earlier:?}");
        Some(Problem::new(text).hint("the first pattern that matches counts: put the narrower one first"))
    }
}

impl Optimizer for Groups {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        let names: Vec<String> = graph.parameters().into_iter().map(Var::name).collect();
        let state: Vec<String> = graph.states().into_iter().map(Var::name).collect();
        for (number, group) in self.groups.iter().enumerate() {
            if let Some(problem) = self.problem(number, &names, &state) {
                let op = if group.rule.is_some() { "group" } else { "frozen" }.to_owned();
                let error = OpError { op, site: group.site, problem, operands: Vec::new() };
                return graph.fail(Box::new(error).into());
            }
        }
        for group in (0..self.groups.len()).map(Some).chain([None]) {
            let is_member = |&&(p, _): &&(Var<'g>, Var<'g>)| self.group_of(&p.name()) == group;
            if let Some(rule) = self.rule_of(group) {
                rule.step(graph, &parameters.iter().filter(is_member).copied().collect::<Vec<_>>());
            }
        }
    }

    fn moves(&self, name: &str) -> bool {
        self.rule_of(self.group_of(name)).is_some_and(|rule| rule.moves(name))
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        self.rest.learning_rate()
    }

    fn settings(&self) -> String {
        let settings = |rule: Option<&Rule>| rule.map_or("frozen".to_owned(), |rule| rule.settings());
        let groups = self.groups.iter().map(|group| (&*group.pattern, settings(group.rule.as_ref())));
        let all = groups.chain([("the others", self.rest.settings())]);
        all.map(|(pattern, settings)| format!("{pattern}: {settings}")).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.groups.iter().map(|group| &group.pattern)).finish()
    }
}

/// Whether a name matches a pattern, in which `*` matches any characters, including none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
    for part in middle.split('*') {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
